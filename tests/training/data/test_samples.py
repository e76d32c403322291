"""Samples in files: what is written is what is read, whole and in blocks."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.training.data import Encoded, Samples
from chatdoctor_hub.training.data import samples as samples_module
from chatdoctor_hub.training.data import writer as writer_module
from chatdoctor_hub.training.data.writer import SampleWriter

_tokens = st.lists(st.tuples(st.integers(0, 2**31 - 1), st.booleans()), min_size=1, max_size=40)


def write(folder: Path, items: list[list[tuple[int, bool]]]) -> Samples:
    with SampleWriter(folder, "training") as writer:
        for number, item in enumerate(items, 1):
            mask = bytes(learned for _, learned in item)
            writer.add([token for token, _ in item], mask, number % 2, number)
        writer.close()
    return Samples(folder, "training", ("a.jsonl", "b.jsonl"))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(_tokens, max_size=30), held=st.integers(1, 100), block=st.integers(1, 200))
def test_what_is_written_is_read(
    items: list[list[tuple[int, bool]]],
    held: int,
    block: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(writer_module, "_HELD", held)
    monkeypatch.setattr(samples_module, "_FORGET", held)
    samples = write(tmp_path, items)
    expected = [Encoded(*(tuple(column) for column in zip(*item, strict=True))) for item in items]
    assert list(samples) == expected
    assert samples.lengths.tolist() == [len(item) for item in items]
    assert samples.learned.tolist() == [sum(learned for _, learned in item) for item in items]
    assert (samples.tokens, samples.labelled_tokens) == (
        int(samples.lengths.sum()),
        int(samples.learned.sum()),
    )
    for number in range(len(items)):
        assert samples.record(number) == f"record {number + 1} of {('b.jsonl', 'a.jsonl')[number % 2]}"
    seen: list[int] = []
    for first, ids, labels, starts in samples.blocks(block):
        assert first == len(seen)
        assert len(ids) == len(labels) == starts[-1]
        assert len(ids) <= block or len(starts) == 2
        for at, (start, stop) in enumerate(pairwise(starts)):
            assert ids[start:stop].tolist() == list(expected[first + at].ids)
            assert labels[start:stop].tolist() == list(expected[first + at].labelled)
            seen.append(first + at)
    assert seen == list(range(len(items)))


def test_the_digest_is_that_of_ids_and_masks(tmp_path: Path) -> None:
    def digest(name: str, items: list[list[tuple[int, bool]]]) -> str:
        (tmp_path / name).mkdir()
        return write(tmp_path / name, items).digest

    one = digest("one", [[(1, False), (2, True)], [(3, False)]])
    assert digest("same", [[(1, False), (2, True)], [(3, False)]]) == one
    others = [[[(1, False), (2, True), (3, False)]], [[(1, False), (2, False)], [(3, False)]], []]
    assert one not in {digest(f"other {number}", items) for number, items in enumerate(others)}


def test_what_is_handed_out_stays_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_module, "_FORGET", 1)
    samples = write(tmp_path, [[(number, True)] * 3000 for number in range(20)])
    kept = samples[4]
    assert [int(sample.ids[2999]) for sample in samples] == list(range(20))
    assert set(numpy.asarray(kept.ids).tolist()) == {4}
    with pytest.raises(ValueError, match="read-only"):
        kept.ids[0] = 1  # type: ignore[index]


def test_files_that_are_not_there_are_told(tmp_path: Path) -> None:
    write(tmp_path, [[(1, True)]])
    with pytest.raises(DataFormatError, match="as they were written"):
        Samples(tmp_path, "validation", ())


_MEASURED = """
import json, resource, sys
from pathlib import Path
from template_styles import make_tokenizer
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import check_masks, encode_data
from chatdoctor_hub.training.recipe import RecipeConfig
words = make_tokenizer("chatml")
data = encode_data(RecipeConfig(base="base", data=sys.argv[1], output="out"), PromptPair.load("chatdoctor@1"), words)
check_masks(data.training, words)
print(len(data.training) + len(data.validation), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_dialogues(tmp_path: Path) -> None:
    """Peak memory of a process of its own for 1,000 and for 20,000 dialogues, in MiB."""
    peaks: dict[int, int] = {}
    for number in (1_000, 20_000):
        file = tmp_path / f"{number}.jsonl"
        with file.open("w") as opened:
            for at in range(number):
                said: list[Any] = [
                    {"role": "user", "content": f"Case {at}: my head hurts. " + "It is bad. " * (at % 8)},
                    {"role": "assistant", "content": f"Rest for {at} hours. " + "Drink water. " * (at % 8)},
                ]
                opened.write(json.dumps({"messages": said}) + "\n")
        done = subprocess.run(
            [sys.executable, "-c", _MEASURED, str(file)],
            cwd=Path(__file__).parent,
            check=True,
            capture_output=True,
            text=True,
        )
        count, peaks[number] = map(int, done.stdout.split())
        assert count == number
    assert peaks[20_000] - peaks[1_000] < 60
