"""A call that breaks off in the middle: never one to carry out."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk

from chatdoctor_hub.errors import EndpointConnectionError
from chatdoctor_hub.inference import ChatDelta, ScriptedEngine, ToolCallDelta, Usage
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.langchain.broken_calls import BrokenCalls
from chatdoctor_hub.langchain.messages import to_ai_chunk

sys.path.append(str(Path(__file__).resolve().parents[1] / "inference/endpoint"))

from broken_server import BrokenServer, page, piece, stream_head

TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"disease": {"type": "string"}}},
    },
}
CUT = '{"disease": "mea'
INFO = ScriptedEngine("x").describe()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def added_up(*deltas: ChatDelta) -> AIMessageChunk:
    calls = BrokenCalls()
    first, *others = [to_ai_chunk(calls.marked(delta), INFO) for delta in deltas]
    for chunk in others:
        first += chunk
    return first


def call_pieces(text: str) -> list[ChatDelta]:
    name = ChatDelta("", tool_calls=(ToolCallDelta(0, "1", "look_up", text[:3]),))
    return [name, *(ChatDelta("", tool_calls=(ToolCallDelta(0, arguments=letter),)) for letter in text[3:])]


END = ChatDelta("", "length", Usage(1, 1))


@given(st.dictionaries(st.text(max_size=4), JSON, max_size=3), st.booleans(), st.data())
def test_wherever_it_breaks_off(arguments: dict[str, Any], ascii_only: bool, data: st.DataObject) -> None:
    text = json.dumps(arguments, ensure_ascii=ascii_only)
    cut = text[: data.draw(st.integers(1, len(text)))]
    message = added_up(*call_pieces(cut), END)
    if cut == text:
        assert [call["args"] for call in message.tool_calls] == [arguments]
        assert message.invalid_tool_calls == []
    else:
        assert message.tool_calls == []
        assert [call["args"][: len(cut)] for call in message.invalid_tool_calls] == [cut]


def test_only_what_broke_off_is_spoiled() -> None:
    whole = ChatDelta("", tool_calls=(ToolCallDelta(1, "2", "rest", "{}"),))
    none = ChatDelta("", tool_calls=(ToolCallDelta(2, "3", "sleep"),))
    message = added_up(*call_pieces(CUT), whole, none, END)
    assert [call["name"] for call in message.tool_calls] == ["rest", "sleep"]
    assert [call["name"] for call in message.invalid_tool_calls] == ["look_up"]


def event(delta: dict[str, Any], reason: str | None = None) -> str:
    return "data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": reason}]}) + "\n\n"


def called(arguments: str) -> list[dict[str, Any]]:
    function = {"name": "look_up", "arguments": arguments}
    return [{"index": 0, "id": "call_1", "type": "function", "function": function}]


STREAMED = [stream_head(), piece(event({"tool_calls": called(CUT)}))]
ENDED = [*STREAMED, piece(event({}, "length") + "data: [DONE]\n\n"), b"0\r\n\r\n"]
WHOLE = page(
    200,
    "application/json",
    json.dumps({"choices": [{"message": {"tool_calls": called(CUT)}, "finish_reason": "length"}]}),
)


def over(server: BrokenServer) -> Any:
    return ChatDoctor(base_url=server.url, max_retries=0).bind_tools([TOOL])


async def test_a_server_that_ran_out_of_tokens() -> None:
    with BrokenServer(ENDED) as server:
        chunks = list(over(server).stream("Which disease is it?"))
        chunks_async = [chunk async for chunk in over(server).astream("Which disease is it?")]
    with BrokenServer(WHOLE) as server:
        whole = over(server).invoke("Which disease is it?")
    for message in (sum(chunks[1:], chunks[0]), sum(chunks_async[1:], chunks_async[0]), whole):
        assert message.tool_calls == []
        assert [call["name"] for call in message.invalid_tool_calls] == ["look_up"]
        assert message.invalid_tool_calls[0]["args"].startswith(CUT)
        assert message.response_metadata["finish_reason"] == "length"


async def test_a_server_that_hangs_up() -> None:
    with BrokenServer(STREAMED) as server:
        with pytest.raises(EndpointConnectionError):
            list(over(server).stream("Which disease is it?"))
        with pytest.raises(EndpointConnectionError):
            [chunk async for chunk in over(server).astream("Which disease is it?")]
        with pytest.raises(EndpointConnectionError):
            await ChatDoctor(base_url=server.url, streaming=True).bind_tools([TOOL]).ainvoke("Which?")
