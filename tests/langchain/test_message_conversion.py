from __future__ import annotations

import pytest
from langchain_core.messages import (
    AIMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.inference import ChatDelta, ChatReply, ScriptedEngine, Usage
from chatdoctor_hub.langchain.messages import to_ai_chunk, to_ai_message, to_hub_messages

INFO = ScriptedEngine("x", name="tiny").describe()


def test_the_four_kinds():
    call = {"name": "lookup", "args": {"name": "gout"}, "id": "call-1", "type": "tool_call"}
    assert to_hub_messages(
        [
            SystemMessage("Be brief."),
            HumanMessage("My toe hurts."),
            AIMessage("", tool_calls=[call]),
            ToolMessage("uric acid", tool_call_id="call-1", name="lookup"),
            AIMessage("It may be gout."),
            ChatMessage("Thanks", role="user"),
        ]
    ) == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "My toe hurts."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "type": "function",
                    "id": "call-1",
                    "function": {"name": "lookup", "arguments": {"name": "gout"}},
                }
            ],
        },
        {"role": "tool", "content": "uric acid", "tool_call_id": "call-1", "name": "lookup"},
        {"role": "assistant", "content": "It may be gout."},
        {"role": "user", "content": "Thanks"},
    )


def test_text_blocks_are_joined():
    blocks = [{"type": "text", "text": "My toe "}, "hurts", {"type": "text", "text": "."}]
    assert to_hub_messages([HumanMessage(blocks)]) == ({"role": "user", "content": "My toe hurts."},)
    thought = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Rest."}]
    assert to_hub_messages([AIMessage(thought)])[0]["content"] == "Rest."


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (
            HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}]),
            "content block of type 'image_url'",
        ),
        (HumanMessage([{"type": "audio", "base64": "x"}]), "'audio'"),
        (HumanMessage([{"type": "reasoning", "reasoning": "x"}]), "'reasoning'"),
        (HumanMessage([{"text": "no type"}]), "type None"),
        (FunctionMessage("x", name="f"), "found FunctionMessage"),
    ],
)
def test_what_a_text_model_cannot_take(message, says):
    with pytest.raises(DataFormatError) as caught:
        to_hub_messages([HumanMessage("Hello"), message])
    assert says in str(caught.value)
    assert "message 1" in str(caught.value)


def test_answers_carry_usage_and_the_prompt_they_were_given_under():
    message = to_ai_message(ChatReply("Rest.", "length", Usage(9, 2), "tiny"), INFO)
    assert message.content == "Rest."
    assert message.usage_metadata == {"input_tokens": 9, "output_tokens": 2, "total_tokens": 11}
    assert message.response_metadata == {
        "model_name": "tiny",
        "model_provider": "chatdoctor",
        "finish_reason": "length",
        "prompt": "chatdoctor@1",
        "prompt_form": "serving",
        "serving_sha256": INFO.serving_sha256,
    }


def test_pieces_add_up_to_the_answer():
    pieces = [ChatDelta("Re"), ChatDelta("st."), ChatDelta("", "stop", Usage(9, 2))]
    chunks = [to_ai_chunk(piece, INFO) for piece in pieces]
    whole = chunks[0] + chunks[1] + chunks[2]
    message = to_ai_message(ChatReply("Rest.", "stop", Usage(9, 2), "tiny"), INFO)
    assert whole.content == message.content
    assert whole.usage_metadata == message.usage_metadata
    assert whole.response_metadata == message.response_metadata
    assert [chunk.usage_metadata is None for chunk in chunks] == [True, True, False]
    assert whole.chunk_position == "last"
