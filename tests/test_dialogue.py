"""`Turn` and `Dialogue`: values that are what they say, and the Hub's messages."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError

P, D, S = Turn("patient", "It hurts."), Turn("doctor", "Where?"), Turn("system", "Be brief.")
WORDS = st.text(min_size=1).filter(str.strip)
TURNS = st.builds(Turn, st.sampled_from(["patient", "doctor"]), WORDS)
DIALOGUES = st.builds(
    lambda lead, turns, id, source, topic: Dialogue((*lead, *turns), id, source, topic),
    st.lists(st.builds(Turn, st.just("system"), WORDS), max_size=1),
    st.lists(TURNS, min_size=1, max_size=5),
    st.text(),
    st.text(),
    st.text(),
)


def test_a_turn_is_a_value() -> None:
    assert Turn(role="patient", content="It hurts.") == P
    assert hash(Turn("patient", "It hurts.")) == hash(P)
    with pytest.raises(dataclasses.FrozenInstanceError):
        P.content = "x"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(P)) == P


@given(WORDS)
def test_outer_white_space_carries_no_meaning(words: str) -> None:
    assert Turn("doctor", f"\n {words}\t").content == words.strip()
    assert Turn("doctor", f"\n {words}\t") == Turn("doctor", words)


@pytest.mark.parametrize(
    ("role", "content", "found"),
    [
        ("nurse", "secret", "role of a turn to be one of system, patient, doctor, found 'nurse'"),
        ("user", "secret", "Dialogue.from_messages"),
        (None, "secret", "found None"),
        ("doctor", None, "content of a doctor turn to be text, found NoneType"),
        ("doctor", ["secret"], "found list"),
        ("patient", "", "words in a patient turn, found none"),
        ("patient", " \n\u2003", "words in a patient turn, found none"),
    ],
)
def test_a_turn_of_anything_else_is_refused(role: Any, content: Any, found: str) -> None:
    with pytest.raises(DataFormatError, match=found) as caught:
        Turn(role, content)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_dialogue_is_a_value() -> None:
    dialogue = Dialogue(turns=(S, P, D, P), id="1", source="a.json", topic="ache")
    assert dialogue == Dialogue([S, P, D, P], "1", "a.json", "ache")  # type: ignore[arg-type]
    assert hash(dialogue) == hash(Dialogue((S, P, D, P), "1", "a.json", "ache"))
    assert dialogue != Dialogue((S, P, D, P))
    assert isinstance(dialogue.turns, tuple)
    assert (dialogue.patient_turns, dialogue.doctor_turns) == ((P, P), (D,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        dialogue.id = "2"  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(dialogue)) == dialogue


@pytest.mark.parametrize(
    ("turns", "found"),
    [((), "at least one turn, found none"), ((P, S), "only at the start"), ((S, S), "only at")],
)
def test_a_dialogue_in_disorder_is_refused(turns: tuple[Turn, ...], found: str) -> None:
    with pytest.raises(DataFormatError, match=found):
        Dialogue(turns)


def test_the_digest_counts_roles_and_words_alone() -> None:
    digest = Dialogue((P, D)).digest
    assert len(digest) == 64
    assert Dialogue((P, D), "1", "a.json", "ache").digest == digest
    others = [(P,), (D, P), (P, D, P), (S, P, D), (P, Turn("patient", "Where?"))]
    assert len({digest, *(Dialogue(turns).digest for turns in others)}) == len(others) + 1
    # Where one turn ends and the next begins counts too.
    assert (
        Dialogue((Turn("patient", "a"), Turn("patient", "b"))).digest
        != Dialogue((Turn("patient", "a b"),)).digest
    )
    # The value must not change with versions of Python or of this package: corpora record it.
    assert (
        Dialogue((Turn("patient", "é"),)).digest
        == "6dafbb10c31a717c88fb4d3b55f38deb3c87d6b4f1911e10f9acd60e02a88431"
    )
    assert len(Dialogue((Turn("patient", "lone \ud83d"),)).digest) == 64


@given(DIALOGUES)
def test_messages_round_trip(dialogue: Dialogue) -> None:
    messages = dialogue.to_messages()
    read = Dialogue.from_messages(messages, id=dialogue.id, source=dialogue.source, topic=dialogue.topic)
    assert read == dialogue
    assert read.digest == dialogue.digest
    assert Dialogue.from_messages(iter(messages)).turns == dialogue.turns


def test_messages_are_the_hubs() -> None:
    assert Dialogue((S, P, D)).to_messages() == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "It hurts."},
        {"role": "assistant", "content": "Where?"},
    ]
    ours = [{"role": "patient", "content": "It hurts.", "extra": 1}, {"role": "doctor", "content": "Where?"}]
    assert Dialogue.from_messages(ours) == Dialogue((P, D))


@pytest.mark.parametrize(
    ("message", "found"),
    [
        ("secret", "message 1 to be a mapping with 'role' and 'content', found str"),
        ({"role": "user"}, r"found \['role'\]"),
        ({"content": "secret"}, r"found \['content'\]"),
        (
            {"role": "tool", "content": "secret"},
            "role of message 1 to be user, assistant or system, found 'tool'",
        ),
        ({"role": ["user"], "content": "secret"}, "role of message 1"),
        ({"role": None, "content": "secret"}, "found None"),
        ({"role": "assistant", "content": None}, "doctor turn to be text, found NoneType"),
        ({"role": "assistant", "content": " "}, "words in a doctor turn"),
        ({"role": "system", "content": "secret"}, "only at the start"),
    ],
)
def test_a_message_of_another_layout_is_named(message: Any, found: str) -> None:
    with pytest.raises(DataFormatError, match=found) as caught:
        Dialogue.from_messages([{"role": "user", "content": "It hurts."}, message])
    assert "secret" not in str(caught.value)


def test_no_messages_are_no_dialogue() -> None:
    with pytest.raises(DataFormatError, match="at least one turn"):
        Dialogue.from_messages([])
