"""The settings of a source: how much of it is used, what is known of it, when it is the same."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.corpus.reading import RecordProblem, SourceConfig, stream_dialogues
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, DataFormatError, DataNotFoundError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "d.jsonl"
    lines = [json.dumps({"input": f"question {n}", "output": f" answer {n}"}) for n in range(1000)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def ids(**settings: Any) -> list[str]:
    return [item.id for item in stream_dialogues(SourceConfig(**settings)) if isinstance(item, Dialogue)]


def test_a_share_is_drawn_by_the_words_alone(file: Path) -> None:
    half = ids(path=str(file), weight=0.5)
    assert 430 < len(half) < 570
    assert half == ids(path=file, weight=0.5)
    assert set(ids(path=str(file), weight=0.25)) < set(half)
    lines = file.read_text("utf-8").splitlines()
    file.write_text("\n".join(reversed(lines)), encoding="utf-8")
    assert {1001 - int(name) for name in ids(path=str(file), weight=0.5)} == {int(name) for name in half}


def test_above_one_dialogues_repeat(file: Path) -> None:
    twice = ids(path=str(file), weight=2.0)
    assert twice == [str(n) for n in range(1, 1001) for _ in (1, 2)]
    more = ids(path=str(file), weight=1.5)
    assert set(more) == set(twice)
    assert len(more) == 1000 + len(ids(path=str(file), weight=0.5))


def test_a_limit_is_on_what_is_given(file: Path) -> None:
    assert ids(path=str(file), limit=3) == ["1", "2", "3"]
    assert ids(path=str(file), limit=3, weight=2) == ["1", "1", "2"]
    assert len(ids(path=str(file), limit=5000)) == 1000
    text = file.read_text("utf-8")
    file.write_text("{oops\n" + text, encoding="utf-8")
    stream = stream_dialogues(SourceConfig(path=str(file), limit=1))
    assert [type(item) for item in stream] == [RecordProblem, Dialogue]


def test_repairs_and_strictness(file: Path) -> None:
    stream = stream_dialogues(file)
    next(stream)
    assert stream.repairs == {"outer_white_space": 1}
    assert stream.source == "d.jsonl"
    stream.close()
    assert list(stream) == []
    file.write_text(file.read_text("utf-8") + '\n{"input": "secret"}', encoding="utf-8")
    with pytest.raises(DataFormatError) as caught:
        list(stream_dialogues(file, strict=True))
    assert f"{file} to be a dialogue, found record 1001 (line 1001): no doctor turn" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_known_of_a_source(file: Path) -> None:
    plain = stream_dialogues(file).provenance
    assert (plain.name, plain.url, plain.licence) == ("d.jsonl", "", "unknown; check before use")
    named = stream_dialogues(SourceConfig(path=str(file), adapter="genmedgpt-5k")).provenance
    assert (named.name, named.licence) == ("GenMedGPT-5k", "none given; check before use")
    assert "2303.14070" in named.citation
    own = stream_dialogues(SourceConfig(path=str(file), adapter="alpaca", licence="by permission")).provenance
    assert own.licence == "by permission"


def test_the_fingerprint_is_of_what_is_read(file: Path, tmp_path: Path) -> None:
    def fingerprint(**settings: Any) -> str:
        return stream_dialogues(SourceConfig(**settings)).fingerprint

    first = fingerprint(path=str(file))
    assert fingerprint(path=str(file), licence="by permission") == first
    others = {
        fingerprint(path=str(file), limit=3),
        fingerprint(path=str(file), weight=0.5),
        fingerprint(path=str(file), adapter="alpaca"),
    }
    moved = tmp_path / "elsewhere" / "d.jsonl"
    moved.parent.mkdir()
    moved.write_bytes(file.read_bytes())
    assert fingerprint(path=str(moved)) == first
    moved.write_bytes(file.read_bytes() + b"\n")
    others.add(fingerprint(path=str(moved)))
    assert len(others | {first}) == 5


def test_ids_that_are_missing_or_repeated(tmp_path: Path) -> None:
    lines = ['{"id": NaN, "input": "a", "output": "b"}', '{"id": "7", "input": "c", "output": "d"}'] * 2
    file = tmp_path / "d.jsonl"
    file.write_text("\n".join(lines), encoding="utf-8")
    stream = stream_dialogues(file)
    assert [item.id for item in stream if isinstance(item, Dialogue)] == ["record-1", "7", "record-3", "7"]
    assert stream.repairs == {"ids_missing": 2, "ids_repeated": 1}


def test_every_wrong_setting_is_told() -> None:
    with pytest.raises(ConfigError) as caught:
        SourceConfig(path="x", wieght=1.0, limit=0, adapter="icliniqq", answer="nobody")
    message = str(caught.value)
    assert "found 4 fault(s)" in message
    assert "wieght: no such setting, did you mean 'weight'?" in message
    assert "did you mean 'icliniq'?" in message
    with pytest.raises(ConfigError, match="path: missing"):
        SourceConfig()
    for wrong in (0, -1.0, float("nan"), 1e9, "1"):
        with pytest.raises(ConfigError, match="weight"):
            SourceConfig(path="x", weight=wrong)
    with pytest.raises(ConfigError, match="path"):
        stream_dialogues("")


def test_settings_within_settings() -> None:
    from pydantic import BaseModel

    class Outer(BaseModel):
        sources: list[SourceConfig]

    assert Outer(sources=[{"path": "x", "weight": 2}]).sources[0].weight == 2.0
    with pytest.raises(ValueError, match="no such setting"):
        Outer(sources=[{"path": "x", "wight": 2}])


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"found none; check the path"):
        stream_dialogues(tmp_path / "none.json")
    with pytest.raises(DataNotFoundError, match=r"found none; check the path"):
        stream_dialogues("data/none.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes of that kind")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(DataNotFoundError, match="found a device or a pipe"):
        stream_dialogues(tmp_path / "pipe.json")


def test_a_home_that_is_nobodys() -> None:
    with pytest.raises(DataNotFoundError):
        stream_dialogues("~nobody-of-that-name/d.json")
