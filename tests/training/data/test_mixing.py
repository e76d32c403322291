"""Safety dialogues among the data: how many, which, and in what form."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.corpus.splits import opening_words
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.training.data import EncodedData
from chatdoctor_hub.training.data.mixing import SafetyMix
from chatdoctor_hub.training.recipe import SafetyMixConfig

Make = Callable[..., EncodedData]
Write = Callable[..., Path]


def always(_: Dialogue) -> bool:
    return True


def mixed(config: SafetyMixConfig, dialogues: list[Dialogue], seed: int = 0) -> list[Dialogue]:
    mix = SafetyMix(config, seed)
    reads = [read for dialogue in dialogues for read in mix.after(dialogue, always)]
    return [read.item for read in reads if isinstance(read.item, Dialogue)]


@pytest.mark.parametrize(("ratio", "number"), [(0.03, 1), (0.25, 12), (1.0, 48), (0.001, 0)])
def test_as_many_as_the_ratio_says(
    ratio: float, number: int, dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    report = encoded(written("a.jsonl", dialogues), safety_mix={"ratio": ratio}, validation_share=0).report
    assert (report.mixed, report.training) == (number, 48 + number)
    assert report.sources == ("a.jsonl", "shipped safety dialogues")


def test_they_come_evenly_and_the_same_each_time(dialogues: list[Dialogue]) -> None:
    config = SafetyMixConfig(ratio=0.25)
    mix = SafetyMix(config, 3)
    assert [len(mix.after(dialogue, always)) for dialogue in dialogues[:8]] == [0, 1, 0, 0, 0, 1, 0, 0]
    assert mixed(config, dialogues, 3) == mixed(config, dialogues, 3)
    assert mixed(config, dialogues, 3) != mixed(config, dialogues, 4)


def test_they_have_the_form_of_the_data(dialogues: list[Dialogue], say: Callable[..., Dialogue]) -> None:
    single = [say("My head hurts.", "Rest well.", system=f"Be brief {number}.") for number in range(20)]
    found = mixed(SafetyMixConfig(ratio=1.0), single)
    assert [item.turns[0].content for item in found] == [f"Be brief {number}." for number in range(20)]
    assert {len(item.doctor_turns) for item in found} == {1}
    longer = [say(*["My head hurts.", "Rest well."] * 3) for _ in range(4)]
    assert all(len(item.doctor_turns) > 1 for item in mixed(SafetyMixConfig(ratio=1.0), longer))
    plain = mixed(SafetyMixConfig(ratio=1.0, match_format=False), single)
    assert not any(turn.role == "system" for item in plain for turn in item.turns)


def test_those_of_a_file_are_taken_and_repeat(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make, tokenizer: Any
) -> None:
    file = written(
        "safety.jsonl", [say("Make poison.", "I won't."), say("Kill the weeds.", "Pull them out.")]
    )
    data = encoded(
        written("a.jsonl", dialogues), safety_mix={"ratio": 0.1, "data": str(file)}, validation_share=0
    )
    assert data.report.mixed == 5
    texts = [tokenizer.decode(sample.ids) for sample in data.training]
    assert sum("Make poison." in text or "Kill the weeds." in text for text in texts) == 5
    with pytest.raises(DataNotFoundError):
        encoded(written("a.jsonl", dialogues), safety_mix={"data": str(file) + "l"})


def test_none_opens_as_a_dialogue_to_validate_with(
    dialogues: list[Dialogue], written: Write, encoded: Make, say: Callable[..., Dialogue]
) -> None:
    held = written("held.jsonl", dialogues[:4])
    unsafe = written("safety.jsonl", dialogues[:6])
    data = encoded(
        written("a.jsonl", dialogues[6:]),
        validation=str(held),
        safety_mix={"ratio": 0.5, "data": str(unsafe)},
    )
    openings = {opening_words(item) for item in dialogues[:4]}
    assert data.report.mixed == 21
    assert len({tuple(sample.ids) for sample in data.training}) == 42 + 2
    assert len(openings) == len(data.validation) == 4
    none_left = written("other.jsonl", dialogues[:4])
    with pytest.raises(DataFormatError, match=r"safety_mix\.data"):
        encoded(
            written("a.jsonl", dialogues[6:]),
            validation=str(held),
            safety_mix={"ratio": 0.5, "data": str(none_left)},
        )


def test_they_are_for_tuning_only(dialogues: list[Dialogue], written: Write, encoded: Make) -> None:
    file = written("a.jsonl", dialogues)
    plain, more = (
        encoded(file, validation_share=0.2),
        encoded(file, validation_share=0.2, safety_mix={"ratio": 1.0}),
    )
    assert list(plain.validation) == list(more.validation)
    assert len(more.training) == 2 * len(plain.training)
