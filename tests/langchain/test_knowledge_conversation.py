from __future__ import annotations

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import ChatPromptTemplate

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.langchain.knowledge.conversation import Conversation

TALK = [HumanMessage("My head hurts."), AIMessage("Since when?"), HumanMessage(" Since Monday. ")]
TURNS = (("patient", "My head hurts."), ("doctor", "Since when?"), ("patient", "Since Monday."))


@pytest.mark.parametrize(
    "given",
    [
        TALK,
        tuple(TALK),
        {"messages": TALK, "other": 1},
        [("user", "My head hurts."), ("ai", "Since when?"), ("human", "Since Monday.")],
        [
            {"role": "user", "content": "My head hurts."},
            {"role": "assistant", "content": "Since when?"},
            {"role": "user", "content": [{"type": "text", "text": "Since Monday."}]},
        ],
        ChatPromptTemplate.from_messages(TALK).invoke({}),
        {"messages": ChatPromptTemplate.from_messages(TALK).invoke({})},
        [ChatMessage("My head hurts.", role="patient"), ChatMessage("Since when?", role="doctor"), TALK[2]],
        [
            TALK[0],
            AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]),
            ToolMessage("x", tool_call_id="1"),
            *TALK[1:],
        ],
    ],
)
def test_every_form_says_the_same(given):
    assert Conversation.read(given) == Conversation(TURNS)


def test_a_string_and_a_message():
    assert (
        Conversation.read("Fever").turns
        == Conversation.read(HumanMessage("Fever")).turns
        == (("patient", "Fever"),)
    )


def test_the_callers_system_texts_are_kept_apart():
    talk = Conversation.read([SystemMessage("Be brief."), TALK[0], SystemMessage("Be kind.")])
    assert talk.rules == ("Be brief.", "Be kind.")
    assert talk.turns == TURNS[:1]


def test_views():
    talk = Conversation(TURNS)
    assert talk.patient == "Since Monday.\nMy head hurts."
    assert talk.transcript(1_000) == [
        "Patient: My head hurts.",
        "Doctor: Since when?",
        "Patient: Since Monday.",
    ]
    assert [type(message) for message in talk.messages()] == [HumanMessage, AIMessage, HumanMessage]
    long = Conversation((("patient", "begin " + "x" * 500), ("patient", "end"))).transcript(100)
    assert long[0].startswith("Patient: begin")
    assert long[-1] == "Patient: end"
    assert sum(map(len, long)) <= 101


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "found none"),
        ("", "found no words"),
        (" \n", "found no words"),
        ([HumanMessage("")], "found no words"),
        ([SystemMessage("Be brief.")], "found a system message only"),
        ([AIMessage("Hello, how can I help?")], "the doctor's words only"),
        ([ToolMessage("secret", tool_call_id="1")], "found no words"),
        ({"messages": []}, "found none"),
        ({"question": "secret"}, "the key 'messages'"),
        (None, "NoneType"),
        (7, "int"),
        ([7], "another form"),
        ([("nurse", "secret")], "another form"),
        ([{"content": "secret"}], "another form"),
        ([ChatMessage("secret", role="nurse")], "'nurse'"),
        ([RemoveMessage(id="1")], "RemoveMessage"),
        ([HumanMessage([{"type": "image_url", "image_url": {"url": "secret"}}])], "'image_url'"),
        ([HumanMessage([{"type": "text"}])], "'text'"),
    ],
)
def test_what_is_no_conversation(given, says):
    with pytest.raises(DataFormatError, match=says) as caught:
        Conversation.read(given)
    assert "secret" not in str(caught.value)
    assert str(caught.value).endswith(".")
