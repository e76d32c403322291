"""The forms of a pair as messages: what a caller sent is kept, what the pair says stands once, in front."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from callers import LATE, LEADS, PAIR, SAFETY, SERVING, TALK, TASK, conversations, system, text_part
from hypothesis import given, settings

from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.prompts.messages import fold_system, merge_system, text_of

Messages = list[dict[str, Any]]


def system_words(messages: Messages) -> str:
    return "\n\n".join(message["content"] for message in messages if message["role"] == "system")


@pytest.mark.parametrize("lead", LEADS)
def test_the_serving_form_says_it_once_and_first(lead: str) -> None:
    sent, own = LEADS[lead]
    made = PAIR.render_serving([*sent, *TALK])
    assert [message["role"] for message in made] == ["system", "user", "assistant", "user"]
    assert made[1:] == TALK
    words = made[0]["content"]
    assert words.startswith(SERVING)
    assert words.count(SAFETY) == 1
    assert words.count(TASK) == 1
    assert words.removeprefix(SERVING).strip().startswith(own)
    assert own or words == SERVING
    assert PAIR.render_serving(made) == made


@pytest.mark.parametrize("lead", LEADS)
def test_the_training_form_is_pure(lead: str) -> None:
    sent, own = LEADS[lead]
    made = PAIR.render_training_messages([*sent, *TALK])
    assert made[1:] == TALK
    words = made[0]["content"]
    assert words.startswith(TASK)
    assert SAFETY not in words
    assert words.removeprefix(TASK).strip().startswith(own)
    assert PAIR.render_training_messages(made) == made
    assert PAIR.render_training_messages(PAIR.render_serving([*sent, *TALK])) == made


def test_all_of_several_system_messages_is_kept() -> None:
    made = PAIR.render_serving([*LEADS["several"][0], *TALK])
    assert made[0]["content"].split() == [*SERVING.split(), "Be", "brief.", "Be", "kind."]


def test_system_messages_in_between_stay_there_without_the_copies() -> None:
    for form, text in ((PAIR.render_serving, SERVING), (PAIR.render_training_messages, TASK)):
        made = form([*TALK, *LATE])
        assert [message["role"] for message in made] == [
            "system", "user", "assistant", "user", "system", "system", "user",
        ]  # fmt: skip
        assert made[0]["content"] == text
        assert made[4]["content"].split() == ["Now", "be", "kind."]
        assert made[5] == system("Speak Latin.")


@given(conversations())
@settings(deadline=None)
def test_merging_is_once_and_for_all(messages: Messages) -> None:
    before = copy.deepcopy(messages)
    serving, training = PAIR.render_serving(messages), PAIR.render_training_messages(messages)
    assert messages == before
    assert PAIR.render_serving(serving) == serving
    assert PAIR.render_training_messages(training) == training
    assert serving[0]["content"].startswith(SERVING)
    assert system_words(serving).count(SAFETY) == 1
    assert system_words(serving).count(TASK) == 1
    assert training[0]["content"].startswith(TASK)
    assert SAFETY not in system_words(training)
    others = [message for message in messages if message["role"] in ("user", "assistant")]
    for made in (serving, training):
        assert [message for message in made if message["role"] != "system"] == others


def test_what_others_say_is_not_touched() -> None:
    """A patient who quotes the safety text, and what else a message holds."""
    calls = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    talk = [
        {"role": "user", "content": SAFETY, "name": "A"},
        calls,
        {"role": "tool", "content": "x", "id": "1"},
    ]
    assert PAIR.render_serving(talk)[1:] == talk
    assert PAIR.render_training_messages(talk)[1:] == talk


def test_a_gap_is_longer_than_any_in_the_texts() -> None:
    """Else the halves around a copy that is dropped could make up another."""
    text = "Be safe.\n\n\nAlways."
    made = merge_system([system("Be safe." + text + "Always.")], text)
    assert merge_system(made, text) == made
    assert made[0]["content"].count(text) == 1


def test_pairs_with_one_text_or_none() -> None:
    none = PromptPair("none@1", "", "", "x")
    assert none.render_serving(TALK) == none.render_training_messages(TALK) == TALK
    assert none.render_serving([system(" a"), system("b"), *TALK]) == [system("a\n\nb"), *TALK]
    safe = PromptPair("safe@1", "", " Be safe.\n", "x")
    assert (safe.serving_text, safe.training_text) == ("Be safe.", "")
    assert safe.render_serving(TALK) == [system("Be safe."), *TALK]
    assert safe.render_training_messages([system("Be safe."), *TALK]) == TALK


def test_a_task_within_the_safety_text_leaves_no_remains_of_it() -> None:
    pair = PromptPair("nested@1", "Help.", "Do no harm. Help. Be kind.", "x")
    assert pair.render_training_messages([system(pair.serving_text), *TALK])[0] == system("Help.")
    assert pair.render_serving([system(pair.safety), *TALK])[0] == system(pair.serving_text)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a", "a"),
        (["a", text_part(" b "), {"type": "image", "url": "x"}, text_part(None), text_part(5), ""], "a\n\nb"),
        (None, ""),
        (5, ""),
    ],
)
def test_the_words_of_a_content(content: Any, words: str) -> None:
    assert text_of(content) == words


def test_folding() -> None:
    assert fold_system(TALK) == TALK
    assert fold_system([]) == []
    assert fold_system([system("a"), *TALK])[0] == {"role": "user", "content": f"a\n\n{TALK[0]['content']}"}
    assert fold_system([system("a")]) == [{"role": "user", "content": "a"}]
    assert fold_system([system("a"), TALK[1]]) == [{"role": "user", "content": "a"}, TALK[1]]
    parts = [text_part("b"), {"type": "image"}]
    assert fold_system([system("a"), {"role": "user", "content": parts}])[0]["content"] == [
        text_part("a\n\n"),
        *parts,
    ]
