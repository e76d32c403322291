"""Servers that break: the right error for each, soon, with what was written and without what was said."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import time
import traceback

import pytest
from broken_server import page, piece, stream_head

from chatdoctor_hub.errors import (
    EndpointBusyError,
    EndpointConnectionError,
    EndpointError,
    EndpointNotFoundError,
    EndpointServerError,
    EndpointTimeoutError,
    GenerationError,
)
from chatdoctor_hub.inference import ChatRequest

SECRET = "Xanthippe has hepatitis"
REQUEST = ChatRequest(({"role": "user", "content": SECRET},))
HTML = "<!doctype html><html><body>Xanthippe</body></html>"


def chunk(text: str, reason: str | None = None) -> str:
    return (
        "data: " + json.dumps({"choices": [{"delta": {"content": text}, "finish_reason": reason}]}) + "\n\n"
    )


async def whole(engine) -> object:
    return await asyncio.to_thread(engine.generate, REQUEST)


async def awhole(engine) -> object:
    return await engine.agenerate(REQUEST)


async def stream(engine) -> object:
    return await asyncio.to_thread(lambda: list(engine.stream(REQUEST)))


async def astream(engine) -> object:
    return [delta async for delta in engine.astream(REQUEST)]


WAYS = [whole, awhole, stream, astream]
STREAMS = [stream, astream]

ALWAYS = {
    "hangs up": (b"", EndpointConnectionError),
    "mid-header": (b"HTTP/1.1 200 OK\r\nContent-Type: applica", EndpointConnectionError),
    "no HTTP": (b"\x00\x01garbage\r\n\r\n", EndpointConnectionError),
    "mid-body": (b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"cho',
                 EndpointConnectionError),
    "no JSON": (page(200, "application/json", "{'choices'"), EndpointServerError),
    "empty": (page(200, "application/json", ""), EndpointServerError),
    "not UTF-8": (page(200, "application/json", b'{"choices": "\xff\xfe"}'), EndpointServerError),
    "a web page": (page(200, "text/html", HTML), EndpointNotFoundError),
    "a web page, 404": (page(404, "text/html", HTML), EndpointNotFoundError),
    "a web page, 502": (page(502, "text/html", HTML), EndpointServerError),
    "no choice": (page(200, "application/json", '{"choices": []}'), EndpointServerError),
    "an empty choice": (page(200, "application/json", '{"choices": [{}]}'), EndpointServerError),
    "an error, 200": (page(200, "application/json", f'{{"error": "{SECRET}", "error_type": "generation"}}'),
                      EndpointServerError),
    "moved": (page(307, "text/plain", "", "Location: http://elsewhere.example/"), EndpointNotFoundError),
    "busy": (page(429, "application/json", '{"error": "Model is overloaded", "error_type": "overloaded"}'),
             EndpointBusyError),
    "down": (page(503, "text/plain", "no healthy upstream"), EndpointBusyError),
    "failed": (page(500, "application/json", f'{{"error": "{SECRET}"}}'), EndpointServerError),
    "gateway": (page(504, "text/plain", "slow"), EndpointTimeoutError),
}  # fmt: skip


def check(error: BaseException) -> None:
    told = "".join(traceback.format_exception(error))
    for word in SECRET.split():
        if word != "has":
            assert word not in told


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("fault", ALWAYS)
async def test_faults(broken, connect, caplog, way, fault: str) -> None:
    answer, kind = ALWAYS[fault]
    engine = connect(broken(answer).url, max_retries=1)
    began = time.monotonic()
    with caplog.at_level(logging.DEBUG), pytest.raises(kind) as caught:
        await way(engine)
    assert type(caught.value) is kind
    assert time.monotonic() - began < 5
    assert caught.value.text_so_far == ""
    check(caught.value)
    assert not any(word in caplog.text for word in ("Xanthippe", "hepatitis"))


MID_STREAM = {
    "hangs up": ([stream_head(), piece(chunk("Rest"))], EndpointConnectionError),
    "ends too soon": ([stream_head(), piece(chunk("Rest")), b"0\r\n\r\n"], EndpointServerError),
    "half an event": ([stream_head(), piece(chunk("Rest") + 'data: {"cho'), b"0\r\n\r\n"], EndpointServerError),
    "no JSON": ([stream_head(), piece(chunk("Rest") + "data: {'x'}\n\n")], EndpointServerError),
    "an error": ([stream_head(), piece(chunk("Rest") + 'data: {"error": "CUDA", "error_type": "generation"}\n\n')],
                 EndpointServerError),
    "an error of transformers": ([stream_head(), piece(chunk("Rest") + 'data: {"error": "a "b" c"}\n\n')],
                                 EndpointServerError),
    "busy": ([stream_head(), piece(chunk("Rest") + 'data: {"error": "x", "error_type": "overloaded"}\n\n')],
             EndpointBusyError),
    "silence": ([stream_head(), piece(chunk("Rest")), 30], EndpointTimeoutError),
    "only comments": ([stream_head(), piece(chunk("Rest")), *[piece(": still here\n\n"), 0.2] * 40],
                      EndpointTimeoutError),
}  # fmt: skip


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("fault", MID_STREAM)
async def test_faults_within_a_stream(broken, connect, way, fault: str) -> None:
    answer, kind = MID_STREAM[fault]
    server = broken(answer)
    engine = connect(server.url, chunk_timeout=0.8)
    began = time.monotonic()
    with pytest.raises(kind) as caught:
        await way(engine)
    assert caught.value.text_so_far == "Rest"
    assert "Rest" not in str(caught.value)
    assert time.monotonic() - began < 4
    assert server.asked == 1  # never again after the first piece


@pytest.mark.parametrize("way", STREAMS)
async def test_a_stream_that_breaks_before_its_first_piece_is_asked_for_again(broken, connect, way) -> None:
    good = [stream_head(), piece(chunk("Rest", "stop") + "data: [DONE]\n\n"), b"0\r\n\r\n"]
    server = broken(
        b"",
        [stream_head()],
        [stream_head(), piece('data: {"error": "x", "error_type": "overloaded"}\n\n')],
        good,
    )
    assert "".join(delta.text for delta in await way(connect(server.url))) == "Rest"
    assert server.asked == 4


@pytest.mark.parametrize("way", STREAMS)
async def test_a_server_that_does_not_stream(broken, connect, way) -> None:
    body = json.dumps({"choices": [{"message": {"content": "Rest"}, "finish_reason": "stop"}], "usage": {
        "prompt_tokens": 3, "completion_tokens": 1}})  # fmt: skip
    deltas = await way(connect(broken(page(200, "application/json", body)).url))
    assert [delta.text for delta in deltas] == ["Rest", ""]
    assert deltas[-1].usage.input_tokens == 3


@pytest.mark.parametrize("way", STREAMS)
@pytest.mark.parametrize("end", ["data: [DONE]\n\n", ""])
async def test_odd_streams_that_are_good(broken, connect, way, end: str) -> None:
    text = "\ufeff: hello\r\nevent: message\r\n" + chunk("Üb") + ":\n\n" + chunk("el 頭", "stop") + end
    body = text.encode()
    cut = [b"%x\r\n%s\r\n" % (1, body[at : at + 1]) for at in range(len(body))]
    server = broken([stream_head(), *cut, b"0\r\n\r\n"])
    assert "".join(delta.text for delta in await way(connect(server.url))) == "Übel 頭"


@pytest.mark.parametrize("way", WAYS)
async def test_a_whole_that_takes_too_long(broken, connect, way) -> None:
    slow = [
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n",
        *[b" ", 0.2] * 50,
    ]
    server = broken(slow)
    began = time.monotonic()
    with pytest.raises(EndpointTimeoutError):
        await way(connect(server.url, timeout=1))
    assert time.monotonic() - began < 4
    assert server.asked == 1  # the time is up: not again


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_at_the_address(connect, way) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(EndpointConnectionError, match="check that it runs"):
        await way(connect(f"http://127.0.0.1:{port}", max_retries=1))


@pytest.mark.parametrize("way", WAYS)
async def test_a_web_page_instead_of_a_server(broken, connect, way) -> None:
    server = broken(page(200, "text/html", HTML), info=False)
    with pytest.raises(EndpointNotFoundError, match="found a web page"):
        await way(connect(server.url))


async def test_a_host_that_does_not_exist(connect) -> None:
    with pytest.raises(EndpointConnectionError):
        await connect("http://no-such-host.invalid", max_retries=0).agenerate(REQUEST)


def test_secrets_of_the_address_stay_out_of_messages(connect) -> None:
    engine = connect(
        "http://user:s3cret@127.0.0.1:9", max_retries=0, api_key="k3y", headers={"X-Key": "h3ader"}
    )
    with pytest.raises(EndpointError) as caught:
        engine.generate(REQUEST)
    told = "".join(traceback.format_exception(caught.value)) + repr(engine.describe())
    assert not any(secret in told for secret in ("s3cret", "k3y", "h3ader"))


async def test_cancelling_ends_the_request(broken, connect) -> None:
    engine = connect(broken([stream_head(), piece(chunk("Rest")), 30]).url, max_connections=1)

    async def read() -> None:
        async for _ in engine.astream(REQUEST):
            pass

    for _ in range(3):  # the only slot is free again each time
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(read(), 0.3)


def test_all_are_generation_errors() -> None:
    assert all(issubclass(kind, GenerationError) for _, kind in ALWAYS.values())
