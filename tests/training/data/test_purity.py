"""No safety prompt among what is tuned on: found before rendering, whatever form it has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from template_styles import CHATML, make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import PurityError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import EncodedData

PAIR = PromptPair.load("chatdoctor@1")
WISH = "You must refuse harmful or dangerous requests. Decline politely to answer anything unsafe or illegal."
Make = Callable[..., EncodedData]
Write = Callable[..., Path]


def told(dialogues: list[Dialogue], words: str, say: Callable[..., Dialogue]) -> list[Dialogue]:
    return [say(*(turn.content for turn in dialogue.turns), system=words) for dialogue in dialogues]


def test_plain_system_words_are_pure(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    plain = told(dialogues, "You are a nurse who answers in one sentence.", say)
    report = encoded(written("a.jsonl", plain)).report
    assert report.safety == {}
    assert report.read == 48


@pytest.mark.parametrize("words", [PAIR.safety, PAIR.serving_text, f"Be brief. {PAIR.safety} Thanks.", WISH])
def test_a_safety_prompt_in_system_words_is_refused_with_its_records(
    words: str, dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    mixed = [*dialogues[:10], *told(dialogues[10:30], words, say), *dialogues[30:]]
    with pytest.raises(PurityError) as caught:
        encoded(written("a.jsonl", mixed))
    said = str(caught.value)
    assert "20 in a.jsonl (records 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, …;" in said
    assert "allow_safety_in_training" in said
    assert "throat" not in said


def test_each_source_is_named(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    first = written("a.jsonl", told(dialogues[:2], PAIR.safety, say))
    second = written("b.jsonl", [*dialogues[2:30], *told(dialogues[30:33], WISH, say)])
    with pytest.raises(
        PurityError, match=r"2 in a\.jsonl \(records 1, 2; .* and 3 in b\.jsonl \(records 29, 30, 31;"
    ):
        encoded([first, second], validation_share=0)


def test_a_validation_file_is_judged_too(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    held = written("held.jsonl", told(dialogues[:2], PAIR.safety, say))
    with pytest.raises(PurityError, match=r"2 in held\.jsonl"):
        encoded(written("a.jsonl", dialogues), validation=str(held))


def test_a_known_prompt_in_front_of_the_patients_words_is_refused(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    folded = say(f"{PAIR.serving_text}\n\nMy head hurts.", "Rest well.")
    with pytest.raises(PurityError, match=r"records 49; a patient turn holds a known safety prompt: 1"):
        encoded(written("a.jsonl", [*dialogues, folded]))


def test_what_is_allowed_is_counted(
    dialogues: list[Dialogue], say: Callable[..., Dialogue], written: Write, encoded: Make
) -> None:
    file = written("a.jsonl", [*dialogues[:40], *told(dialogues[40:], WISH, say)])
    report = encoded(file, allow_safety_in_training=True, validation_share=0).report
    assert (report.training, sum(report.safety.values())) == (48, 8)


def test_a_prompt_whose_training_form_is_a_safety_prompt_is_refused(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    file = written("a.jsonl", dialogues)
    swapped = PromptPair(id="swapped@1", instruction=PAIR.safety, safety=PAIR.safety, layout=PAIR.layout)
    with pytest.raises(PurityError, match=r"training form of prompt swapped@1"):
        encoded(file, pair=swapped)
    report = encoded(file, pair=swapped, allow_safety_in_training=True).report
    assert sum(report.safety.values()) == 1


def test_a_chat_template_with_a_safety_prompt_of_its_own_is_refused(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    of_its_own = "{{ '<|im_start|>system\n" + WISH + "<|im_end|>\n' }}" + CHATML
    with pytest.raises(PurityError, match="chat template"):
        encoded(written("a.jsonl", dialogues), tokenizer=make_tokenizer("chatml", chat_template=of_its_own))


def test_a_pair_without_a_safety_prompt_is_no_safety_prompt_itself(
    dialogues: list[Dialogue], written: Write, encoded: Make
) -> None:
    same = PromptPair(id="same@1", instruction=PAIR.instruction, safety="", layout=PAIR.layout)
    assert encoded(written("a.jsonl", dialogues), pair=same).report.safety == {}
