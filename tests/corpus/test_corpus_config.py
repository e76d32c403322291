"""`CorpusConfig`: all faults at once, before anything is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.building.steps import CleaningRules
from chatdoctor_hub.corpus.reading import SourceConfig
from chatdoctor_hub.errors import ConfigError, DataNotFoundError

LEAST: dict[str, Any] = {"sources": ["a.jsonl"], "out": "made", "licence": "unknown"}


def test_sources_are_paths_or_mappings() -> None:
    source = SourceConfig(path="c.json", limit=3)
    config = CorpusConfig(
        sources=["a.jsonl", Path("b.json"), {"path": "c.json", "limit": 3}, source],
        out=Path("made"),
        licence="MIT",
        leak_check="test.json",
        languages="en",
    )
    assert [one.path for one in config.sources] == ["a.jsonl", "b.json", "c.json", "c.json"]
    assert config.sources[2] == source
    assert (config.out, config.languages) == ("made", ("en",))
    assert config.leak_check == (SourceConfig(path="test.json"),)
    assert CorpusConfig(**(LEAST | {"sources": "a.jsonl"})).sources == (SourceConfig(path="a.jsonl"),)


def test_what_is_done_unless_told_otherwise() -> None:
    config = CorpusConfig(**LEAST)
    assert config.rules == CleaningRules(min_words=3, max_words=10_000, deidentify=True)
    assert (config.near_duplicates, config.on_leak, config.split_by) == (0.8, "stop", "dialogue")


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ConfigError) as told:
        CorpusConfig(
            sources=["a.jsonl", {"path": "b.json", "wait": 2}, {"limit": 0}],
            min_word=3,
            near_duplicates=1.5,
            on_leak="shout",
            workers=-1,
            seed="one",
        )
    message = str(told.value)
    assert message.startswith("Expected a valid CorpusConfig, found ")
    for fault in (
        "sources.1: wait: no such setting, did you mean",
        "sources.2: path: missing",
        "sources.2: limit: ",
        "min_word: no such setting, did you mean 'min_words'?",
        "near_duplicates: ",
        "on_leak: ",
        "workers: ",
        "seed: input should be a valid integer, found 'one'",
        "out: missing",
        "licence: missing",
    ):
        assert fault in message
    assert len(told.value.args[1]) == 10


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"sources": []}, "sources: "),
        ({"sources": None}, "sources: "),
        ({"sources": [3]}, "sources.0: expected a path or a mapping, found int"),
        ({"sources": [{"path": "a", "weight": 2.0}]}, "sources: a weight above 1 repeats records"),
        ({"validation": 0.5, "test": 0.5}, "validation and test must together be less than 1"),
        ({"min_words": 10, "max_words": 15}, "max_words must be at least twice min_words"),
        ({"licence": ""}, "licence: "),
        ({"near_duplicates": float("nan")}, "near_duplicates: "),
        ({"shard_size": 0}, "shard_size: "),
    ],
)
def test_each_fault_is_one_sentence(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=r"found 1 fault\(s\)") as told:
        CorpusConfig(**(LEAST | change))
    assert fault in str(told.value)
    assert "\n" not in str(told.value)


def test_it_is_read_from_yaml_and_overridden(tmp_path: Path) -> None:
    file = tmp_path / "corpus.yaml"
    file.write_text(yaml.safe_dump(LEAST | {"seed": 3, "near_duplicates": None}), "utf-8")
    config = CorpusConfig.load(file, seed=4)
    assert (config.seed, config.near_duplicates) == (4, None)
    with pytest.raises(ConfigError, match=r"corpus\.yaml: expected a valid CorpusConfig, .*sead: no such"):
        CorpusConfig.load(file, sead=4)


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00", "just words", ""])
def test_a_file_that_holds_no_settings(tmp_path: Path, text: str) -> None:
    file = tmp_path / "corpus.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=r"corpus\.yaml: expected"):
        CorpusConfig.load(file)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.yaml", "a\x00b"):
        with pytest.raises(DataNotFoundError, match="no readable file"):
            CorpusConfig.load(path)


def test_the_record_names_no_place_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    config = CorpusConfig(
        sources=[str(tmp_path / "a.jsonl"), "org/name"],
        out=str(tmp_path / "made"),
        licence="MIT",
        leak_check=[str(tmp_path / "held_out.json")],
        workers=2,
    )
    record = config.to_record()
    assert [source["path"] for source in record["sources"]] == ["a.jsonl", "org/name"]
    assert record["leak_check"][0]["path"] == "held_out.json"
    assert not {"out", "workers", "strict"} & record.keys()
    assert str(tmp_path) not in str(record)
    # What is recorded can be read again.
    CorpusConfig(out="made", **record)


def test_home_is_home_and_no_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    config = CorpusConfig(sources=["~/raw.jsonl"], out="~/corpus", licence="MIT")
    assert config.out == str(tmp_path / "corpus")
    assert config.to_record()["sources"][0]["path"] == "raw.jsonl"
    unknown = "~nobody-of-that-name/corpus"
    assert CorpusConfig(sources=["a"], out=unknown, licence="MIT").out == unknown


def test_a_nul_in_out_is_a_fault_like_another() -> None:
    with pytest.raises(
        ConfigError, match=r"found 2 fault\(s\).*out: input should be a path, found 'a\\x00b'"
    ):
        CorpusConfig(sources=["a"], out="a\0b", licence="MIT", seed=-1)


@pytest.mark.parametrize("path", [None, {}, 3, b"corpus.yaml"])
def test_what_is_no_path(path: Any) -> None:
    with pytest.raises(ConfigError, match="Expected the path of settings in YAML, found"):
        CorpusConfig.load(path)
