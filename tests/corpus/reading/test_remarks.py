"""A generating model's own words in a dialogue, and what only looks like them."""

from __future__ import annotations

import time

import pytest

from chatdoctor_hub.corpus.reading.remarks import asks_as_the_doctor, holds_a_request, without_remark

SAID = "You may have a cold, so rest."


@pytest.mark.parametrize(
    "remark",
    [
        " Note: This dialogue is for teaching only.",
        "(Note: the conversation is limited to one back and forth.)",
        ".Note: Due to the prompt, this is short.",
        "\n\n**Note:** In reality, a doctor would examine you.",
        " (Please note that this dialogue is not medical advice.)",
        " (Note from the AI: it is not really a dialogue, let me know.)",
        " Note: The doctor would ask the patient more questions.",
    ],
)
def test_a_remark_on_the_dialogue_goes(remark: str) -> None:
    assert without_remark(SAID + remark) in (SAID, SAID + ".")


@pytest.mark.parametrize(
    "text",
    [
        "Note: do not take ibuprofen with alcohol.",
        "Rest. (Note: a cold may bring a fever.)",
        "Rest. Please note that these drugs make you sleepy.",
        "Do note the time of the next attack in a diary, and show the doctor.",
        "Rest. Note: take it in the morning.\n\nThe conversation with your doctor can wait.",
        "Keep a footnote of it. In reality it is harmless.",
        "I shall note what the doctor and the patient agreed.",
    ],
)
def test_advice_stays(text: str) -> None:
    assert without_remark(text) == text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Please generate a dialogue between a doctor and a patient", True),
        ("create 5 short conversations between two people", True),
        ("Write the dialogue between them", True),
        ("The wound generates pus between the toes.", False),
        ("Write down the time between two meals.", False),
        ("A conversation between a doctor and you helps.", False),
    ],
)
def test_a_request_for_a_dialogue(text: str, found: bool) -> None:
    assert holds_a_request(text) is found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("What seems to be bothering you?", True),
        ("Hello there, what brings you here today?", True),
        ("Hi! How can I help you today?", True),
        ("What's the problem?", True),
        ("What is the matter with my knee? It hurts.", False),
        ("What is the problem with my knee if I run", False),
        ("My knee hurts. How can I help you find out?", False),
        ("How can I help my son, who coughs?", False),
    ],
)
def test_the_question_with_which_a_doctor_begins(text: str, found: bool) -> None:
    assert asks_as_the_doctor(text) is found


def test_the_work_does_not_explode() -> None:
    start = time.perf_counter()
    for unit in (
        "Note: ",
        ". note ",
        "generate a a a a ",
        "(Note",
        "between generate a ",
        "\n\nnote the doctor ",
    ):
        text = unit * (400_000 // len(unit))
        without_remark(text)
        holds_a_request(text)
        asks_as_the_doctor(text)
    assert time.perf_counter() - start < 5
