"""What is put right in a record's words, and what is left alone."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.corpus.reading.repair import (
    repair_answer,
    repair_question,
    repair_words,
)

CUT, SPLIT, LABELS = "leaked_turns_cut", "leaked_turns_split", "speaker_labels"


def repaired(text: str) -> tuple[list[tuple[str, str]], set[str]]:
    kinds: set[str] = set()
    return repair_answer(text, kinds), kinds


@pytest.mark.parametrize(
    "text",
    [
        "We should test your urine. Patient: When?",
        "We should test your urine.Patient: When?",
        "We should test your urine.  Patient:When? And where?",
        "We should test your urine.\nPatient: When?",
        "We should test your urine.\n\n**Patient:** When?",
        "We should test your urine. PATIENT : When?",
        "We should test your urine. Patient:",
        "We should test your urine. Patient: When? Doctor:",
        "We should test your urine.\nPatient：When?",
    ],
)
def test_a_leaked_patient_turn_is_cut(text: str) -> None:
    assert repaired(text) == ([("doctor", "We should test your urine.")], {CUT})


@pytest.mark.parametrize("end", ["?", "!", "…", " (a swab).", " (a swab)", '."', ".)", "."])
def test_the_sentence_before_a_leak_may_end_in_any_way(end: str) -> None:
    assert repaired(f"Is it sore{end}Patient: Yes.") == ([("doctor", f"Is it sore{end}")], {CUT})


def test_a_new_line_is_enough_before_a_leak() -> None:
    assert repaired("Rest, and drink\n Patient: Thanks.") == ([("doctor", "Rest, and drink")], {CUT})


def test_turns_that_alternate_become_turns() -> None:
    turns, kinds = repaired(
        "Is it sore?Patient: Yes. Doctor: Since when?\nPatient: A week.\nChatDoctor: Come in."
    )
    assert turns == [
        ("doctor", "Is it sore?"),
        ("patient", "Yes."),
        ("doctor", "Since when?"),
        ("patient", "A week."),
        ("doctor", "Come in."),
    ]
    assert kinds == {SPLIT}


def test_what_follows_the_last_doctor_turn_is_cut() -> None:
    turns, kinds = repaired("Is it sore? Patient: Yes. Doctor: Come in. Patient: Thanks.")
    assert turns == [("doctor", "Is it sore?"), ("patient", "Yes."), ("doctor", "Come in.")]
    assert kinds == {SPLIT, CUT}


@pytest.mark.parametrize(
    "text",
    [
        "Is it sore? Patient: Yes. Patient: Very. Doctor: Come in.",
        "Is it sore? Doctor: Well? Patient: Yes. Doctor: Come in.",
        "Is it sore? Patient: Doctor: Come in.",
        "Is it sore? Patient: Yes. Doctor: Patient: Hm. Doctor: Come in.",
    ],
)
def test_of_turns_that_do_not_alternate_only_the_first_is_kept(text: str) -> None:
    assert repaired(text) == ([("doctor", "Is it sore?")], {CUT})


@pytest.mark.parametrize(
    "text",
    [
        "A note for the patient: rest.",
        "Rest at home. For every patient: drink enough.",
        "Keep this note to the Patient: rest, and drink.",
        "Dear Patient: rest.",
        "This is an Outpatient: none stays here.",
        "There are two kinds. Outpatient: goes home.",
        "The ratio Doctor:Patient is poor.",
        "Ask your Doctor: he knows.",
        "You may see one of these. Doctor: in the morning only.",
        "The patient said it. Patients: many.",
        "It is 12:30. Patient care matters.",
    ],
)
def test_harmless_uses_stay(text: str) -> None:
    assert repaired(text) == ([("doctor", text)], set())


@pytest.mark.parametrize(
    "label", ["Doctor: ", "ChatDoctor:", "**Doctor:** ", "DOCTOR : ", "Doctor: Doctor: "]
)
def test_a_leading_label_is_removed(label: str) -> None:
    assert repaired(label + "Rest, and drink.") == ([("doctor", "Rest, and drink.")], {LABELS})


@pytest.mark.parametrize(
    "text", ["", "  \n", "\x00", "Doctor:", "Patient: It hurts.", "Patient: It hurts. Doctor: Rest."]
)
def test_an_answer_without_the_doctors_own_words_is_none(text: str) -> None:
    assert repaired(text)[0] == []


def test_a_question_keeps_the_doctor_whom_it_addresses() -> None:
    kinds: set[str] = set()
    assert repair_question("Doctor: it hurts.", kinds) == "Doctor: it hurts."
    assert not kinds
    assert repair_question(" Patient: it hurts.", kinds) == "it hurts."
    assert kinds == {LABELS, "outer_white_space"}


def test_what_utf_8_cannot_hold_is_removed() -> None:
    kinds: set[str] = set()
    assert repair_words("a\x00b\ud83dc \U0001f642", kinds) == "abc \U0001f642"
    assert kinds == {"broken_characters"}


PIECES = st.lists(
    st.sampled_from(
        [
            "Patient:",
            "Doctor:",
            "ChatDoctor:",
            "**Patient:**",
            ".",
            "?",
            " ",
            "\n",
            ")",
            '"',
            "rest",
            "a",
            "\x00",
        ]
    )
    | st.text(max_size=4),
    max_size=14,
).map("".join)


@given(PIECES)
def test_repairing_twice_changes_nothing_more(text: str) -> None:
    turns, _ = repaired(text)
    for role, words in turns:
        kinds: set[str] = set()
        again = (
            repair_answer(words, kinds) if role == "doctor" else [("patient", repair_question(words, kinds))]
        )
        assert again == [(role, words)]
        assert not kinds


@given(PIECES)
def test_turns_alternate_and_no_word_is_invented(text: str) -> None:
    turns, kinds = repaired(text)
    assert [role for role, _ in turns] == ["doctor", "patient"] * (len(turns) // 2) + ["doctor"] * (
        len(turns) % 2
    )
    assert len(turns) % 2 == 1 or not turns
    assert all(words and words in text.replace("\x00", "") for _, words in turns)
    assert (len(turns) > 1) == (SPLIT in kinds)


def test_the_work_is_linear_in_the_text() -> None:
    start = time.perf_counter()
    for unit in ("Patient:", ". Patient: a", ") ", "\n", "**", "Doctor:", ".\"'))"):
        repaired(unit * (200_000 // len(unit)))
    assert time.perf_counter() - start < 5
