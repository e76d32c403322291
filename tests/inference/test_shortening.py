"""What a conversation that does not fit loses first, of whichever engine."""

from __future__ import annotations

from chatdoctor_hub.inference.shortening import without_oldest_turn


def said(*pairs):
    return tuple({"role": role, "content": content} for role, content in pairs)


def test_system_messages_stay_wherever_they_stand():
    talk = said(
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "b"),
        ("developer", "Now in French."),
        ("user", "c"),
    )
    assert without_oldest_turn(talk) == (talk[0], talk[3], talk[4])


def test_what_the_doctor_says_first_is_a_turn():
    talk = said(("assistant", "Hello"), ("user", "a"), ("assistant", "b"))
    assert without_oldest_turn(talk) == talk[1:]


def test_the_newest_turn_stays():
    for talk in (said(("user", "a")), said(("system", "x"), ("user", "a"), ("assistant", "b")), ()):
        assert without_oldest_turn(talk) is None
