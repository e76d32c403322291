"""`clean_record`: one dialogue by itself, the same wherever it is called."""

from __future__ import annotations

from collections import Counter

import pytest

from chatdoctor_hub.corpus.building.steps import CleaningRules, Rejection, clean_record, word_count
from chatdoctor_hub.dialogue import Dialogue, Turn

ASKED = "My knee hurts, what should I do about it?"
SAID = "Rest it, and come back in a week."


def dialogue(asked: str = ASKED, *said: str) -> Dialogue:
    turns = [Turn("doctor", words) for words in said or (SAID,)]
    return Dialogue(
        (Turn("system", "Be kind."), Turn("patient", asked), *turns), id="7", source="a", topic="knee"
    )


def test_a_clean_dialogue_stays_as_it_is() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    assert clean_record(dialogue(), CleaningRules(), counts) == dialogue()
    assert counts == Counter()


def test_characters_are_put_right_and_counted() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    clean = clean_record(dialogue(ASKED.replace(" ", "  ", 1) + "\\nThanks."), CleaningRules(), counts)
    assert isinstance(clean, Dialogue)
    assert clean.turns[1].content == ASKED + "\nThanks."
    assert {step for step, _ in counts} == {"normalise"}
    assert set(counts.values()) == {1}


def test_identifiers_are_replaced_and_counted_one_by_one() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    asked = f"{ASKED} Write to one@example.org or two@example.org."
    clean = clean_record(dialogue(asked), CleaningRules(), counts)
    assert isinstance(clean, Dialogue)
    assert "example.org" not in clean.turns[1].content
    assert (clean.id, clean.source, clean.topic) == ("7", "a", "knee")
    assert [count for (step, _), count in counts.items() if step == "deidentify"] == [2]
    assert clean_record(dialogue(asked), CleaningRules(deidentify=False)) == dialogue(asked)


@pytest.mark.parametrize(
    ("asked", "said", "reason"),
    [
        ("Help me", [SAID], "fewer than 3 words of the patient"),
        (ASKED, ["Rest it."], "fewer than 3 words of the doctor"),
        (ASKED, ["word " * 40], "more than 30 words"),
        ("一二", [SAID], "fewer than 3 words of the patient"),
    ],
)
def test_what_is_too_short_or_too_long(asked: str, said: list[str], reason: str) -> None:
    assert clean_record(dialogue(asked, *said), CleaningRules(max_words=30)) == Rejection("length", reason)


def test_words_are_counted_through_the_whole_dialogue() -> None:
    several = dialogue(ASKED, "Rest it.", "Now.")
    assert clean_record(several, CleaningRules()) == several
    assert clean_record(dialogue("头很疼"), CleaningRules(deidentify=False)) == dialogue("头很疼")


def test_nothing_left() -> None:
    rejection = clean_record(dialogue("\u200b\u200b"), CleaningRules())
    assert isinstance(rejection, Rejection)
    assert rejection.step == "normalise"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("one two\nthree", 3),
        ("naïve café", 2),
        ("头疼", 2),
        ("我 have 头疼 today", 5),
        ("かぜ カゼ", 4),
    ],
)
def test_words_of_scripts_with_and_without_spaces(text: str, words: int) -> None:
    assert word_count(text) == words
