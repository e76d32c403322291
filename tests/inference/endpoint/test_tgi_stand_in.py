"""The stand-in keeps TGI's rules: what it refuses, and how it answers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

USER = {"role": "user", "content": "My knee hurts."}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}


def post(server: Any, path: str = "/v1/chat/completions", **body: Any) -> httpx.Response:
    return httpx.post(
        server.url + path, json={"messages": [USER], **body} if path.startswith("/v1") else body
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"messages": None}, "missing field `messages`"),
        ({"messages": [{"content": "x"}]}, "a message with a role"),
        ({"messages": [{"role": "user"}]}, "MessageBody"),
        ({"max_tokens": -1}, "u32"),
        ({"max_tokens": 1.5}, "u32"),
        ({"seed": -1}, "u64"),
        ({"temperature": "hot"}, "a float"),
        ({"stop": "x"}, "sequence of strings"),
        ({"logprobs": 3}, "a boolean"),
        ({"stream_options": {}}, "include_usage"),
        ({"tools": [{"type": "function", "function": {"name": "x"}}]}, "missing field `arguments`"),
        ({"response_format": {"type": "json_object"}}, "missing field `value`"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "missing field `value`"),
    ],
)
def test_bodies_of_another_form_are_refused_in_plain_text(tgi, body: dict, says: str) -> None:
    answer = post(tgi, **body)
    assert answer.status_code == 422
    assert "Failed to deserialize" in answer.text
    assert says in answer.text


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"top_p": 1.0}, "`top_p` must be > 0.0 and < 1.0"),
        ({"max_tokens": 0}, "`max_new_tokens`"),
        ({"stop": list("abcde")}, "up to 4"),
        ({"temperature": -1}, "`temperature`"),
        ({"top_logprobs": 6, "logprobs": True}, "`top_n_tokens`"),
        ({"frequency_penalty": 3}, "`frequency_penalty`"),
        ({"max_tokens": 10_000}, "must be <= 8000"),
        ({"messages": [{"role": "user", "content": "word " * 5000}]}, "less than 4000"),
    ],
)
def test_values_out_of_range_are_refused_as_validation(tgi, body: dict, says: str) -> None:
    answer = post(tgi, **body)
    assert answer.status_code == 422
    assert answer.json()["error_type"] == "validation"
    assert says in answer.json()["error"]


def test_tools_and_a_schema_exclude_each_other(tgi) -> None:
    answer = post(tgi, tools=[TOOL], response_format={"type": "json_object", "value": {}})
    assert answer.status_code == 422
    assert "mutually exclusive" in answer.json()["error"]


def test_any_is_taken_for_a_name(tgi) -> None:
    assert "Tool with name any not found" in post(tgi, tools=[TOOL], tool_choice="any").text


def test_answers(serve) -> None:
    server = serve("Rest and drink.")
    choice = post(server, stop=[" and"]).json()["choices"][0]
    assert choice["message"]["content"] == "Rest and"  # the stop string stays
    assert choice["finish_reason"] == "stop_sequence"
    assert post(server, max_tokens=1).json()["choices"][0]["finish_reason"] == "length"
    call = serve('{"function": {"_name": "look_up", "q": 1}}')
    choice = post(call, tools=[TOOL]).json()["choices"][0]
    assert choice["message"]["tool_calls"][0]["id"] == "0"
    assert choice["finish_reason"] == "stop"


def test_usage_of_streams_only_on_demand(tgi) -> None:
    assert '"prompt_tokens"' not in post(tgi, stream=True).text
    streamed = post(tgi, stream=True, stream_options={"include_usage": True}).text
    assert streamed.count('"prompt_tokens"') == 1
    assert streamed.endswith("data: [DONE]\n\n")


def test_a_message_with_text_and_calls_loses_the_calls(serve) -> None:
    from chatdoctor_hub.inference import ScriptedEngine

    scripted = ScriptedEngine("x")
    calls = [{"id": "0", "type": "function", "function": {"name": "a", "arguments": "{}"}}]
    post(
        serve(scripted),
        messages=[USER, {"role": "assistant", "content": "Let me see.", "tool_calls": calls}, USER],
    )
    assert "tool_calls" not in scripted.calls[0].messages[2]


def test_overload(serve) -> None:
    answer = post(serve(max_concurrent_requests=0))
    assert answer.status_code == 429
    assert answer.json() == {"error": "Model is overloaded", "error_type": "overloaded"}
