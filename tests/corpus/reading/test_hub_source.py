"""Data sets on the Hub, against a stand-in of it on the loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from dataset_host import COMMIT, StandIn, serving

from chatdoctor_hub.corpus.reading import SourceConfig, read_dialogues, stream_dialogues
from chatdoctor_hub.corpus.reading.hub_files import find_on_hub
from chatdoctor_hub.corpus.reading.splits_by_name import is_data, of_split
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, DataFormatError, DataNotFoundError

Publish = Callable[..., StandIn]


def lines(*asked: str) -> bytes:
    return "\n".join(json.dumps({"input": text, "output": "b"}) for text in asked).encode()


SHARDS = {
    "README.md": b"---\nlicense: cc-by-4.0\n---\n# Talks",
    "data/train-00000-of-00002.jsonl": lines("a", "b"),
    "data/train-00001-of-00002.jsonl": lines("c"),
    "data/test-00000-of-00001.jsonl": lines("t"),
}


@pytest.fixture
def publish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Publish]:
    """Serve a data set and point the Hub's client at it, with a cache of its own."""
    from huggingface_hub import constants

    with ExitStack() as stack:

        def put(files: dict[str, bytes] = SHARDS, card: dict[str, Any] | None = None) -> StandIn:
            stand_in = stack.enter_context(serving(StandIn("org/talks", files, card)))
            monkeypatch.setattr(constants, "ENDPOINT", stand_in.url)
            monkeypatch.setattr(
                constants,
                "HUGGINGFACE_CO_URL_TEMPLATE",
                stand_in.url + "/{repo_id}/resolve/{revision}/{filename}",
            )
            monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
            monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
            monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
            return stand_in

        yield put


def asked(source: SourceConfig | str) -> list[str]:
    return [item.turns[0].content for item in stream_dialogues(source) if isinstance(item, Dialogue)]


def test_the_training_split_shard_by_shard(publish: Publish) -> None:
    stand_in = publish(card={"license": "cc-by-4.0"})
    stream = stream_dialogues("org/talks")
    assert stream.source == "org/talks"
    assert stream.provenance.licence == "cc-by-4.0"
    assert stream.provenance.url == "https://huggingface.co/datasets/org/talks"
    assert "read: train, 2 of 3 files" in stream.provenance.notes
    first = next(stream)
    assert isinstance(first, Dialogue)
    assert (first.id, first.source) == ("data/train-00000-of-00002.jsonl:1", "org/talks")
    # A shard is fetched when its turn comes, at the commit that was found first.
    assert not any("train-00001" in path for path in stand_in.asked)
    assert [item.turns[0].content for item in stream if isinstance(item, Dialogue)] == ["b", "c"]
    assert all(COMMIT in path for path in stand_in.asked if ".jsonl" in path)


def test_another_split_and_revision(publish: Publish) -> None:
    publish()
    assert asked(SourceConfig(path="org/talks", split="test", revision="v1")) == ["t"]
    with pytest.raises(DataNotFoundError, match="files of the split 'dev'"):
        asked(SourceConfig(path="org/talks", split="dev"))
    with pytest.raises(DataNotFoundError, match="the Hub does not know that revision"):
        asked(SourceConfig(path="org/talks", revision="v2"))


def test_the_fingerprint_is_of_the_commit(publish: Publish) -> None:
    stand_in = publish()
    first = stream_dialogues("org/talks").fingerprint
    assert stream_dialogues(SourceConfig(path="org/talks", revision=COMMIT)).fingerprint == first
    assert stream_dialogues(SourceConfig(path="org/talks", split="test")).fingerprint != first
    assert not any(".jsonl" in path for path in stand_in.asked)


def test_the_card_says_which_files(publish: Publish) -> None:
    files = {"x/one.jsonl": lines("1"), "x/two.jsonl": lines("2"), "y.jsonl": lines("3")}
    configs = [
        {"config_name": "small", "data_files": [{"split": "train", "path": "x/one*"}]},
        {
            "config_name": "large",
            "data_files": [{"split": "train", "path": ["x/*"]}, {"split": "test", "path": "y.jsonl"}],
        },
        {"config_name": "flat", "data_files": "*.jsonl"},
    ]
    publish(files, {"configs": configs, "license": ["mit", "other"]})
    assert asked(SourceConfig(path="org/talks", config="small")) == ["1"]
    assert asked(SourceConfig(path="org/talks", config="large")) == ["1", "2"]
    assert asked(SourceConfig(path="org/talks", config="large", split="test")) == ["3"]
    assert asked(SourceConfig(path="org/talks", config="flat")) == ["1", "2", "3"]
    found = find_on_hub("org/talks", None, "large", None)
    assert (found.licence, found.note) == ("mit, other", "read: train; splits of the set: train, test")
    for wrong in (None, "smal"):
        with pytest.raises(ConfigError, match="one of the configurations small, large, flat"):
            asked(SourceConfig(path="org/talks", config=wrong))


def test_a_configuration_is_a_folder_where_the_card_says_nothing(publish: Publish) -> None:
    publish({"x/train.jsonl": lines("1"), "y/train.jsonl": lines("2")})
    assert asked(SourceConfig(path="org/talks", config="y")) == ["2"]
    with pytest.raises(ConfigError, match="found none called 'z'"):
        asked(SourceConfig(path="org/talks", config="z"))


def test_no_files_of_data(publish: Publish) -> None:
    publish({"README.md": b"", "script.py": b"", "data.pkl": b""})
    with pytest.raises(DataFormatError, match="found none of them; export it"):
        asked("org/talks")


def test_no_such_data_set(publish: Publish) -> None:
    publish()
    with pytest.raises(DataNotFoundError, match=r"nothing in the Hub's cache, and the Hub knows no data set"):
        asked("org/other")


def test_without_a_network_the_cache_is_read(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    publish()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataNotFoundError, match="HF_HUB_OFFLINE is set"):
        stream_dialogues("org/talks")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    online = stream_dialogues("org/talks").fingerprint
    assert asked("org/talks") == ["a", "b", "c"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert asked("org/talks") == ["a", "b", "c"]
    offline = stream_dialogues("org/talks")
    assert offline.fingerprint == online
    assert offline.provenance.licence == "cc-by-4.0"
    assert "which may lack files" in " ".join(offline.provenance.notes)


def test_a_hub_that_is_not_there(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    publish()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DataNotFoundError, match=r"the Hub could not be reached|gave ConnectError"):
        asked("org/talks")


def test_the_environment_names_the_hub(tmp_path: Path) -> None:
    code = (
        "from chatdoctor_hub.corpus.reading import read_dialogues\n"
        "print([item.turns[0].content for item in read_dialogues('org/talks')])"
    )
    with serving(StandIn("org/talks", SHARDS)) as stand_in:
        environment = {
            **os.environ,
            "HF_ENDPOINT": stand_in.url,
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "0",
        }
        found = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
    assert found.returncode == 0, found.stderr
    assert found.stdout.splitlines()[-1] == "['a', 'b', 'c']"


def test_a_published_set_brings_its_configuration(publish: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    publish({"main/train.jsonl": b'{"question": "2?", "answer": "#### 2"}', "socratic/train.jsonl": b"{}"})
    from dataclasses import replace

    from chatdoctor_hub.corpus.reading import published

    moved = {"gsm8k": replace(published.published_sets()["gsm8k"], hub="org/talks")}
    monkeypatch.setattr(published, "published_sets", lambda: moved)
    read = read_dialogues(SourceConfig(path="org/talks", adapter="gsm8k"))
    assert (len(read), read.source) == (1, "org/talks")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a.json", True),
        ("x/a.JSONL.gz", True),
        ("a.parquet", True),
        (".cache/a.json", False),
        ("_a.json", False),
        ("x/dataset_info.json", False),
        ("a.py", False),
        ("a.pkl", False),
        ("a.txt", False),
    ],
)
def test_files_of_data(name: str, found: bool) -> None:
    assert is_data(name) is found


def test_splits_by_name() -> None:
    names = [
        "train.jsonl",
        "x/training-0.csv",
        "restrained.csv",
        "train2.csv",
        "dev.csv",
        "my_test.csv",
        "latest.csv",
    ]
    assert of_split(names, None)[0] == ["train.jsonl", "x/training-0.csv", "train2.csv"]
    assert of_split(names, "validation")[0] == ["dev.csv"]
    assert of_split(names, "test")[0] == ["my_test.csv"]
    assert of_split(["a.csv", "test.csv"], None) == (["a.csv", "test.csv"], "")
