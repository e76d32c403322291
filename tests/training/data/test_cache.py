"""Encoded dialogues are kept under the digest of everything that they depend on."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from template_styles import CHATML, make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataError, DiskSpaceError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import EncodedData
from chatdoctor_hub.training.data.encoder import Encoder
from chatdoctor_hub.training.data.writer import SampleWriter

PAIR = PromptPair.load("chatdoctor@1")
Make = Callable[..., EncodedData]
Write = Callable[..., Path]


@pytest.fixture
def encodings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that dialogues are encoded."""
    done: list[int] = []
    fit = Encoder.fit

    def counted(self: Encoder, batches: Any) -> Iterator[Any]:
        done.append(1)
        return fit(self, batches)

    monkeypatch.setattr(Encoder, "fit", counted)
    return done


def test_the_same_is_opened_and_anything_else_is_made(
    dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path, encodings: list[int]
) -> None:
    file, cache = written("a.jsonl", dialogues), tmp_path / "cache"
    first = encoded(file, cache=cache)
    again = encoded(file, cache=cache)
    assert len(encodings) == 1
    assert list(again.training) == list(first.training)
    assert again.report == first.report
    assert again.training.digest == first.training.digest
    changes: list[dict[str, Any]] = [
        {"max_length": 600},
        {"loss_on": "last"},
        {"seed": 1},
        {"validation_share": 0.2},
        {"safety_mix": {"ratio": 0.1}},
        {"allow_safety_in_training": True},
        {"validation": str(written("held.jsonl", dialogues[:3]))},
        {"pair": PromptPair(id="other@1", instruction="Help.", safety=PAIR.safety, layout=PAIR.layout)},
        {"tokenizer": make_tokenizer("chatml", chat_template=CHATML.replace("im_end|>'", "im_end|>' + ' '"))},
        {"tokenizer": make_tokenizer("llama-3")},
    ]
    for number, change in enumerate(changes, 2):
        encoded(file, cache=cache, **change)
        assert len(encodings) == number, change
    written("a.jsonl", dialogues[:-1])
    encoded(file, cache=cache)
    assert len(encodings) == len(changes) + 2


def test_settings_of_the_run_alone_do_not_matter(
    dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path, encodings: list[int]
) -> None:
    file = written("a.jsonl", dialogues)
    encoded(file, cache=tmp_path / "cache")
    encoded(file, cache=tmp_path / "cache", adapter={"kind": "lora", "r": 4}, name="another")
    assert len(encodings) == 1


def test_two_runs_give_the_same_bytes(
    dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path
) -> None:
    file = written("a.jsonl", dialogues)
    for name in ("one", "two"):
        encoded(file, cache=tmp_path / name, safety_mix={"ratio": 0.3}, validation_share=0.2)
    one, two = (
        sorted(path for path in (tmp_path / name).rglob("*") if path.is_file()) for name in ("one", "two")
    )
    assert [path.name for path in one] == [path.name for path in two]
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: file.unlink(),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(file.read_bytes()[:-8]),
        _flip,
    ],
    ids=["gone", "empty", "torn", "flipped"],
)
def test_what_is_not_whole_is_made_anew(
    harm: Callable[[Path], Any], dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path
) -> None:
    file, cache = written("a.jsonl", dialogues), tmp_path / "cache"
    good = encoded(file, cache=cache)
    samples, report = [*good.training, *good.validation], good.report
    samples = [type(sample)(tuple(sample.ids), tuple(sample.labelled)) for sample in samples]
    for kept in sorted(path for path in cache.rglob("*") if path.is_file()):
        if kept.name == "data.json" and harm is _flip:
            continue  # its last byte is white space
        harm(kept)
        found = encoded(file, cache=cache)
        assert [*found.training, *found.validation] == samples, kept.name
        assert found.report == report


def test_the_files_are_plain_arrays_of_numpy(
    dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path
) -> None:
    data = encoded(written("a.jsonl", dialogues), cache=tmp_path / "cache")
    (folder,) = (tmp_path / "cache").iterdir()
    columns = {
        name: numpy.load(folder / f"training.{name}.npy", allow_pickle=False) for name in ("ids", "labelled")
    }
    assert columns["ids"].dtype == numpy.int32
    assert columns["ids"].shape == columns["labelled"].shape == (data.training.tokens,)
    assert int(columns["labelled"].sum()) == data.training.labelled_tokens
    assert "throat" not in (folder / "data.json").read_text()
    assert json.loads((folder / "data.json").read_text())["report"] == json.loads(
        json.dumps(data.report.to_record())
    )


def test_nothing_half_written_stays(
    dialogues: list[Dialogue], written: Write, encoded: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoded(written("a.jsonl", dialogues), cache=tmp_path / "cache", on_progress=interrupted)
    assert list((tmp_path / "cache").iterdir()) == []
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patched:
        patched.setattr(SampleWriter, "close", lambda _: (_ for _ in ()).throw(full))
        with pytest.raises(DiskSpaceError):
            encoded(written("a.jsonl", dialogues), cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError):
        encoded(written("a.jsonl", dialogues), cache=tmp_path / "file" / "cache")
