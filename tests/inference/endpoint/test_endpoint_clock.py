"""Servers that dawdle: before the answer, within it, and after it."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from broken_server import piece, stream_head

from chatdoctor_hub.errors import ConfigError, EndpointTimeoutError
from chatdoctor_hub.inference import ChatRequest

REQUEST = ChatRequest(({"role": "user", "content": "Hello"},))
END = piece("data: [DONE]\n\n")


def event(text: str, reason: str | None = None) -> bytes:
    return piece(
        "data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]}) + "\n\n"
    )


async def stream(engine) -> list:
    return await asyncio.to_thread(lambda: list(engine.stream(REQUEST)))


async def astream(engine) -> list:
    return [delta async for delta in engine.astream(REQUEST)]


WAYS = [stream, astream]


def slowly(text: str) -> list:
    return [part for letter in text for part in (letter.encode(), 0.2)]


@pytest.mark.parametrize("head", ["HTTP/1.1 200 OK\r\nX-A: ", "HTTP/1.1 200 OK\r\n\r\n"])
def test_a_byte_now_and_then_is_no_answer(broken, connect, head: str) -> None:
    engine = connect(broken(slowly(head + "a" * 40)).url, timeout=1, max_retries=0)
    for way in (lambda: engine.generate(REQUEST), lambda: list(engine.stream(REQUEST))):
        began = time.monotonic()
        with pytest.raises(EndpointTimeoutError):
            way()
        assert time.monotonic() - began < 2.5


@pytest.mark.parametrize("way", WAYS)
async def test_a_line_that_stays_open_after_the_end_holds_nobody_up(broken, connect, way) -> None:
    engine = connect(
        broken([stream_head(), event("Rest.", "stop"), END, 30]).url, chunk_timeout=20, timeout=20
    )
    began = time.monotonic()
    assert "".join(delta.text for delta in await way(engine)) == "Rest."
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("after", ["silence", "hanging up"])
async def test_an_answer_that_is_whole_needs_no_mark(broken, connect, way, after: str, monkeypatch) -> None:
    monkeypatch.setattr("chatdoctor_hub.inference.endpoint.streams._TAIL_SECONDS", 0.3)
    rest = [30] if after == "silence" else []
    engine = connect(broken([stream_head(), event("Rest."), event("", "length"), *rest]).url, max_retries=0)
    began = time.monotonic()
    deltas = await way(engine)
    assert [delta.text for delta in deltas if delta.text] == ["Rest."]
    assert deltas[-1].finish_reason == "length"
    assert time.monotonic() - began < 4


async def test_what_the_reader_does_meanwhile_is_not_counted(broken, connect) -> None:
    answer = [stream_head(), event("a"), 0.1, event("b"), 0.1, event("c", "stop"), END, b"0\r\n\r\n"]
    engine = connect(broken(answer).url, timeout=0.9, chunk_timeout=0.5, max_retries=0)
    texts = []
    for delta in engine.stream(REQUEST):
        texts.append(delta.text)
        time.sleep(0.6)
    assert "".join(texts) == "abc"
    texts = []
    async for delta in engine.astream(REQUEST):
        texts.append(delta.text)
        await asyncio.sleep(0.6)
    assert "".join(texts) == "abc"


@pytest.mark.parametrize("seconds", [float("inf"), 1e12, float("nan"), 0])
def test_no_socket_counts_so_far(connect, seconds: float) -> None:
    with pytest.raises(ConfigError, match="timeout must be a number of seconds"):
        connect("http://127.0.0.1:9", timeout=seconds)
