from __future__ import annotations

import pytest

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.inference import ChatRequest, Engine, LocalEngine, ScriptedEngine
from chatdoctor_hub.inference.engine import apply_prompt
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")
USER = {"role": "user", "content": "My knee hurts."}


def request(*messages, form="serving"):
    return ChatRequest(messages, form=form)


def test_serving_form_puts_the_safety_prompt_first():
    assert apply_prompt(PAIR, request(USER)) == [{"role": "system", "content": PAIR.serving_text}, USER]


def test_the_callers_system_message_is_kept_after_it():
    system = {"role": "system", "content": "Answer in French."}
    first, second = apply_prompt(PAIR, request(system, USER))
    assert first["content"] == f"{PAIR.serving_text}\n\nAnswer in French."
    assert second == USER


def test_applying_it_twice_changes_nothing():
    once = apply_prompt(PAIR, request(USER))
    assert apply_prompt(PAIR, request(*once)) == once


def test_training_form_has_no_safety_prompt():
    messages = apply_prompt(PAIR, request(USER, form="training"))
    assert messages == [{"role": "system", "content": PAIR.training_text}, USER]
    assert PAIR.safety not in str(messages)


def test_the_callers_messages_are_not_changed():
    messages = ({"role": "system", "content": "Be brief."}, dict(USER))
    apply_prompt(PAIR, request(*messages))
    assert messages == ({"role": "system", "content": "Be brief."}, USER)


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ((), "at least one message, found none"),
        (({"role": "system", "content": "Be kind."},), "besides the system message"),
        (({"role": "patient", "content": "Hello"},), "role of message 0"),
        ((USER, {"role": ["user"], "content": "Hello"}), "role of message 1"),
        (({"content": "Hello"},), "message 0 to be a mapping with 'role'"),
        (("Hello",), "message 0 to be a mapping with 'role' and 'content', found str"),
        (({"role": "user", "content": None},), "content of message 0 (user) to be text, found NoneType"),
        (({"role": "user", "content": [{"type": "image"}]},), "to be text, found list"),
    ],
)
@pytest.mark.parametrize("form", ["serving", "training"])
def test_messages_that_are_no_conversation_are_refused(messages, says, form):
    with pytest.raises(DataFormatError) as caught:
        apply_prompt(PAIR, request(*messages, form=form))
    assert says in str(caught.value)


def test_refusals_do_not_repeat_the_patients_words():
    with pytest.raises(DataFormatError) as caught:
        apply_prompt(PAIR, request({"role": "visitor", "content": "a secret illness"}))
    assert "secret" not in str(caught.value)


def test_tool_calls_may_have_no_text():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    assert apply_prompt(PAIR, request(USER, call))[-1] == {**call, "content": ""}


def test_both_engines_follow_the_protocol(engine: LocalEngine):
    assert isinstance(engine, Engine)
    assert isinstance(ScriptedEngine("Rest."), Engine)
    assert not isinstance(object(), Engine)
