"""Answers that are JSON of a kind, and streams that begin in ways of their own."""

from __future__ import annotations

import json
import logging

import pytest
from broken_server import page, piece, stream_head

from chatdoctor_hub.errors import ConfigError, EndpointServerError
from chatdoctor_hub.inference import ChatRequest
from chatdoctor_hub.inference.endpoint.address import Address, token_for

REQUEST = ChatRequest(({"role": "user", "content": "Hello"},))
DEEP = "[" * 100_000


def answer(**message: object) -> bytes:
    return page(200, "application/json", json.dumps({"choices": [{"message": message}]}))


def test_json_that_goes_too_deep(broken, connect) -> None:
    for whole in (page(200, "application/json", DEEP), page(400, "application/json", DEEP)):
        with pytest.raises(Exception, match="expected") as caught:
            connect(broken(whole).url).generate(REQUEST)
        assert type(caught.value).__name__.startswith("Endpoint")
    with pytest.raises(EndpointServerError):
        list(connect(broken([stream_head(), piece(f"data: {DEEP}\n\n")]).url, max_retries=0).stream(REQUEST))


def test_a_call_that_goes_too_deep_is_an_invalid_one(broken, connect) -> None:
    calls = [{"id": "a", "function": {"name": "look_up", "arguments": DEEP}}]
    reply = connect(broken(answer(tool_calls=calls)).url).generate(REQUEST)
    assert not reply.tool_calls
    assert reply.invalid_tool_calls[0].name == "look_up"


@pytest.mark.parametrize("content", [[{"token": "a", "logprob": "x"}], [5], [{"top_logprobs": 5}]])
def test_log_probabilities_of_another_form(broken, connect, content: object) -> None:
    body = {"choices": [{"message": {"content": "a"}, "logprobs": {"content": content}}]}
    engine = connect(broken(page(200, "application/json", json.dumps(body))).url)
    with pytest.raises(EndpointServerError, match="log-probabilities"):
        engine.generate(ChatRequest(REQUEST.messages, logprobs=1))


async def test_the_mark_of_utf_8_hides_no_piece(broken, connect) -> None:
    def event(text: str, reason: str | None = None) -> str:
        return (
            "data: "
            + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]})
            + "\n\n"
        )

    engine = connect(
        broken(
            [stream_head(), piece("\ufeff" + event("Rest ")), piece(event("well.", "stop")), b"0\r\n\r\n"]
        ).url
    )
    assert "".join(delta.text for delta in engine.stream(REQUEST)) == "Rest well."
    assert "".join([delta.text async for delta in engine.astream(REQUEST)]) == "Rest well."


def test_a_password_in_the_address_is_sent_but_not_logged(tgi, connect, caplog) -> None:
    engine = connect(tgi.url.replace("//", "//jo:pa%40ss@"))
    with caplog.at_level(logging.DEBUG):
        engine.generate(REQUEST)
    assert tgi.headers[-1]["authorization"] == "Basic am86cGFAc3M="
    assert "pa%40ss" not in caplog.text
    assert "jo:" not in caplog.text
    connect(tgi.url.replace("//", "//jo:pa%40ss@"), api_key="given").generate(REQUEST)
    assert tgi.headers[-1]["authorization"] == "Bearer given"


def test_what_no_header_can_carry(tgi, connect, monkeypatch) -> None:
    connect(tgi.url, api_key="from-a-file\n").generate(REQUEST)
    assert tgi.headers[-1]["authorization"] == "Bearer from-a-file"
    for token in ("secr\u00e9t", "sec\nret"):
        with pytest.raises(ConfigError, match="api_key") as caught:
            connect(tgi.url, api_key=token).generate(REQUEST)
        assert token not in str(caught.value)
    with pytest.raises(ConfigError, match="'X-Mine'"):
        connect(tgi.url, headers={"X-Mine": "a\nb"}).generate(REQUEST)
    monkeypatch.setenv("HF_TOKEN", "hf_of_this_machine")
    assert token_for(Address.read("https://jo:pass@router.huggingface.co"), None) is None
