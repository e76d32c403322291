"""Records made into dialogues: what is refused, what the ids are, what a generating model left."""

from __future__ import annotations

import math
from typing import Any

import pytest

from chatdoctor_hub.corpus.reading.conversion import dialogue_from_record, own_id
from chatdoctor_hub.corpus.reading.repair import UnusableRecordError

RECORDS = {
    "expected a JSON object, found a list": [],
    "expected a JSON object, found null": None,
    "neither 'messages' nor 'input' and 'output' in it": {"secret": "secret"},
    "expected text in 'output', found a number": {"input": "secret", "output": 1},
    "expected text in 'input', found a list": {"input": ["secret"], "output": "secret"},
    "expected text in 'instruction', found true or false": {"instruction": True, "output": "secret"},
    "no doctor turn: 'output' is empty": {"input": "secret", "output": " "},
    "no doctor turn: 'output' holds none of the speaker's words": {
        "input": "secret",
        "output": "Patient: secret",
    },
    "no patient turn": {"input": "", "output": "secret"},
    "expected a list in 'messages', found a text": {"messages": "secret"},
    "no doctor turn": {"messages": []},
    "expected an object as message 1, found a text": {"messages": ["secret"]},
    "expected message 1 from system, user or assistant, found 'tool'": {"messages": [{"role": "tool"}]},
    "expected message 1 from system, user or assistant, found another role": {
        "messages": [{"role": "a secret"}]
    },
    "expected message 1 from system, user or assistant, found null": {"messages": [{"content": "secret"}]},
    "expected text as the content of message 1, found a list": {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "secret"}]}]
    },
    "message 1 is empty": {
        "messages": [{"role": "user", "content": ""}, {"role": "assistant", "content": "secret"}]
    },
    "message 3 is empty": {
        "messages": [
            {"role": "user", "content": "secret"},
            {"role": "assistant", "content": "secret"},
            {"role": "assistant", "content": ""},
        ]
    },
    "a system turn that is not the first turn": {
        "messages": [
            {"role": "user", "content": "secret"},
            {"role": "system", "content": "secret"},
            {"role": "assistant", "content": "secret"},
        ]
    },
}


@pytest.mark.parametrize("reason", RECORDS)
def test_an_unusable_record_is_told_without_its_words(reason: str) -> None:
    with pytest.raises(UnusableRecordError) as caught:
        dialogue_from_record(RECORDS[reason], "1", "a.json", set())
    assert str(caught.value) == reason
    assert "secret" not in reason.replace("found another role", "")


def test_a_leak_within_messages_becomes_turns_too() -> None:
    record = {
        "messages": [
            {"role": "user", "content": "It hurts."},
            {"role": "assistant", "content": "Is it sore?Patient: Yes. Doctor: Since when? Patient: A week."},
            {"role": "user", "content": "Since Monday."},
            {"role": "assistant", "content": "Doctor: Come in."},
        ],
        "topic": " burn ",
    }
    kinds: set[str] = set()
    dialogue = dialogue_from_record(record, "7", "a.jsonl", kinds)
    assert [(turn.role, turn.content) for turn in dialogue.turns] == [
        ("patient", "It hurts."),
        ("doctor", "Is it sore?"),
        ("patient", "Yes."),
        ("doctor", "Since when?"),
        ("patient", "Since Monday."),
        ("doctor", "Come in."),
    ]
    assert (dialogue.id, dialogue.source, dialogue.topic) == ("7", "a.jsonl", "burn")
    assert kinds == {"leaked_turns_cut", "leaked_turns_split", "speaker_labels"}


@pytest.mark.parametrize(
    ("record", "found"),
    [
        ({}, None),
        ({"input": "a"}, None),
        ({"id": "p-7"}, "p-7"),
        ({"id": 7}, "7"),
        ({"id": 7.0}, "7"),
        ({"id": "x", "patient_id": "p"}, "p"),
        ({"id": math.nan}, ""),
        ({"id": math.inf}, ""),
        ({"id": None}, ""),
        ({"id": " "}, ""),
        ({"id": "NaN"}, ""),
        ({"id": True}, ""),
        ({"id": ["p"]}, ""),
        ({"id": "p\x00\ud800q "}, "pq"),
        ({"id": "p" * 201}, ""),
        ({"id": 10**300}, ""),
        (["a"], None),
    ],
)
def test_the_id_that_a_record_has(record: Any, found: str | None) -> None:
    assert own_id(record) == found


def test_the_name_of_a_member_is_its_id() -> None:
    assert own_id({"id": "x"}, "10001") == "10001"


def test_a_request_to_the_model_makes_a_record_unusable() -> None:
    output = "It is a cold.??17,Cold,['Cough'],Please generate a dialogue between a doctor and a patient."
    with pytest.raises(UnusableRecordError, match="the request to the model"):
        dialogue_from_record({"input": "I cough.", "output": output}, "1", "a", set())


def test_a_doctor_in_the_patients_place() -> None:
    with pytest.raises(UnusableRecordError, match="the doctor speaks in the patient's place"):
        dialogue_from_record(
            {"input": "What brings you here today?", "output": "It is a cold."}, "1", "a", set()
        )


def test_a_remark_is_cut_and_counted() -> None:
    kinds: set[str] = set()
    output = "It is a cold. (Note: this dialogue is for illustration purposes.)"
    made = dialogue_from_record({"input": "I cough.", "output": output}, "1", "a", kinds)
    assert made.turns[1].content == "It is a cold."
    assert kinds == {"remarks_cut"}
    with pytest.raises(UnusableRecordError, match="no doctor turn: only a remark"):
        dialogue_from_record({"input": "I cough.", "output": output[14:]}, "1", "a", set())
