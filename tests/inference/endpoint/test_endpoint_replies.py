"""What comes over the wire, whole and in pieces."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import (
    ContextLengthError,
    EndpointBusyError,
    EndpointRequestError,
    EndpointServerError,
    GenerationError,
)
from chatdoctor_hub.inference import ChatRequest, Sampling, TokenLogprob, ToolCall, Usage
from chatdoctor_hub.inference.endpoint.dialects import DIALECTS
from chatdoctor_hub.inference.endpoint.replies import Assembler, read_reply

REQUEST = ChatRequest(({"role": "user", "content": "Hello"},))
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


def call(arguments: object, name: object = "look_up", id: object = "0") -> dict:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def read(message: dict, reason: str = "stop", request: ChatRequest = REQUEST, dialect: str = "tgi", **more):
    body = {"model": "m", "choices": [{"message": message, "finish_reason": reason, **more}], "usage": USAGE}
    return read_reply(body, request, DIALECTS[dialect], "given", "http://x")


def chunk(delta: dict | None = None, reason: str | None = None, **more) -> dict:
    return {"choices": [{"delta": delta or {}, "finish_reason": reason, **more}]}


def assembled(chunks: list, request: ChatRequest = REQUEST, dialect: str = "tgi"):
    made = Assembler(request, DIALECTS[dialect], "http://x")
    deltas = [delta for piece in chunks if (delta := made.feed(piece))]
    end = made.end(marked=True)
    return [*deltas, *([type(end)(rest)] if (rest := made.rest()) else []), end]


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stop", "stop"),
        ("eos_token", "stop"),
        ("stop_sequence", "stop"),
        ("length", "length"),
        (None, "stop"),
    ],
)
def test_a_whole_reply(reason: str, expected: str) -> None:
    found = read({"content": "Rest."}, reason)
    assert found.text == "Rest."
    assert found.finish_reason == expected
    assert found.usage == Usage(5, 2)
    assert found.model == "m"


def test_calls_get_ids_of_their_own_where_the_servers_are_all_the_same() -> None:
    first, second = (read({"tool_calls": [call('{"q": 1}')]}).tool_calls[0] for _ in range(2))
    assert first.arguments == {"q": 1}
    assert first.id != second.id
    assert read({"tool_calls": [call({"q": 1}, id="abc")]}, dialect="vllm").tool_calls == (
        ToolCall("look_up", {"q": 1}, "abc"),
    )
    # TGI says "stop" all the same.
    assert read({"tool_calls": [call("{}")]}).finish_reason == "tool_calls"


def test_two_calls_with_one_id_are_told_apart() -> None:
    found = read({"tool_calls": [call("{}", id="a"), call("{}", id="a")]}, dialect="openai").tool_calls
    assert len({item.id for item in found}) == 2


@pytest.mark.parametrize("arguments", ['{"q": ', "[1]", "knee", '"text"'])
def test_what_is_no_call(arguments: str) -> None:
    found = read({"content": None, "tool_calls": [call(arguments), call('{"q": 2}')]})
    assert [item.arguments for item in found.tool_calls] == [{"q": 2}]
    (bad,) = found.invalid_tool_calls
    assert bad.text == arguments
    assert bad.name == "look_up"
    assert bad.id
    assert arguments not in bad.error


def test_a_call_of_nothing() -> None:
    (bad,) = read({"tool_calls": [call("{}", name=None)]}).invalid_tool_calls
    assert "no tool" in bad.error
    assert read({"tool_calls": [call("")]}).tool_calls[0].arguments == {}


def test_reasoning_refusal_and_logprobs() -> None:
    likely = {"content": [{"token": "a", "logprob": -0.5, "top_logprobs": [{"token": "b", "logprob": -1}]}]}
    request = ChatRequest(REQUEST.messages, logprobs=1)
    found = read(
        {"content": "x", "reasoning_content": "hm", "refusal": "no"}, request=request, logprobs=likely
    )
    assert found.reasoning == "hm"
    assert found.refusal == "no"
    assert found.logprobs == (TokenLogprob("a", -0.5, (("b", -1.0),)),)
    assert read({"content": "x"}, logprobs=likely).logprobs is None


@pytest.mark.parametrize(
    "body",
    [None, [], "text", 3, {}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, {"choices": [{"message": None}]},
     {"choices": [{"message": {"content": 5}}]}, {"choices": [{"message": {"tool_calls": [None]}}]}],
)  # fmt: skip
def test_what_is_no_answer(body: object) -> None:
    with pytest.raises(EndpointServerError, match="Messages API"):
        read_reply(body, REQUEST, DIALECTS["tgi"], "m", "http://x")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "function",
                    "usage",
                    "error",
                    "index",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values)
def test_any_json_gives_an_answer_or_an_error_of_ours(body: object) -> None:
    for read_it in (
        lambda: read_reply(body, REQUEST, DIALECTS["tgi"], "m", "http://x"),
        lambda: assembled([body]),
    ):
        try:
            read_it()
        except GenerationError as error:
            assert "http://x" in str(error)  # noqa: PT017


def test_a_stream() -> None:
    found = assembled([chunk({"content": "Re"}), chunk({"content": "st."}), chunk({"content": ""}, "length"),
                       {"choices": [], "usage": USAGE}])  # fmt: skip
    assert [delta.text for delta in found] == ["Re", "st.", ""]
    assert found[-1].finish_reason == "length"
    assert found[-1].usage == Usage(5, 2)


@given(st.text("abEND ", max_size=30), st.lists(st.integers(1, 4), min_size=1, max_size=30))
def test_stop_strings_are_taken_off_however_the_text_is_cut(text: str, sizes: list[int]) -> None:
    request = ChatRequest(REQUEST.messages, Sampling(stop=("END", "b ")))
    pieces, rest = [], text
    for size in sizes * 30:
        pieces.append(rest[:size])
        rest = rest[size:]
    found = assembled([chunk({"content": piece}) for piece in [*pieces, rest]] + [chunk({}, "stop")], request)
    whole = read({"content": text}, request=request)
    streamed = "".join(delta.text for delta in found)
    assert "END" not in streamed
    assert "b " not in streamed
    assert len(whole.text) <= len(text)
    assert text.startswith(streamed)
    if "END" not in text and "b " not in text:
        assert streamed == whole.text == text


def test_a_call_in_pieces() -> None:
    found = assembled(
        [
            chunk(
                {"tool_calls": [{"index": 0, "id": "0", "function": {"name": "look_up", "arguments": "{"}}]}
            ),
            chunk({"tool_calls": {"index": 0, "id": "0", "function": {"name": None, "arguments": '"q": 1'}}}),
            chunk(
                {"tool_calls": [{"index": 0, "id": "0", "function": {"name": "look_up", "arguments": "}"}}]},
                "stop",
            ),
        ]
    )
    pieces = [piece for delta in found for piece in delta.tool_calls]
    assert [piece.name for piece in pieces] == ["look_up", None, None]
    assert json.loads("".join(piece.arguments for piece in pieces)) == {"q": 1}
    assert pieces[0].id not in (None, "0")
    assert [piece.id for piece in pieces[1:]] == [None, None]
    assert found[-1].finish_reason == "tool_calls"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"error": "Model is overloaded", "error_type": "overloaded"}, EndpointBusyError),
        ({"error": {"message": "bad", "http_status_code": 422}}, EndpointRequestError),
        ({"error": "Request failed during generation: CUDA", "error_type": "generation"}, EndpointServerError),
        ({"error": "something"}, EndpointServerError),
        ({"error": "Input validation error: `inputs` must have less than 100 tokens. Given: 200",
          "error_type": "validation"}, ContextLengthError),
    ],
)  # fmt: skip
def test_an_error_in_the_stream(error: dict, kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        assembled([chunk({"content": "Rest"}), error])
    if kind is not ContextLengthError:
        assert caught.value.text_so_far == "Rest"
    assert "Rest" not in str(caught.value)


def test_a_stream_that_breaks_off() -> None:
    made = Assembler(REQUEST, DIALECTS["tgi"], "http://x")
    made.feed(chunk({"content": "Rest"}))
    with pytest.raises(EndpointServerError, match="broke off") as caught:
        made.end(marked=False)
    assert caught.value.text_so_far == "Rest"
    with pytest.raises(EndpointServerError, match="without an answer"):
        Assembler(REQUEST, DIALECTS["tgi"], "http://x").end(marked=True)
