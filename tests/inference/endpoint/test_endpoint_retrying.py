"""When a request is made again, how long after, and when not."""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from broken_server import page

from chatdoctor_hub.errors import EndpointBusyError, EndpointError
from chatdoctor_hub.inference import ChatRequest
from chatdoctor_hub.inference.endpoint.faults import retry_after_of, told

REQUEST = ChatRequest(({"role": "user", "content": "My knee hurts."},))
GOOD = page(
    200,
    "application/json",
    '{"choices": [{"message": {"content": "Rest."}, "finish_reason": "stop"}], "usage": null}',
)


@pytest.fixture
def waits() -> None:
    """Keeps the pauses as they are."""


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_passing_faults_are_tried_again(broken, connect, status: int) -> None:
    bad = page(status, "text/plain", "x")
    server = broken(bad, b"", bad, GOOD)
    assert connect(server.url).generate(REQUEST).text == "Rest."
    assert server.asked == 4
    server = broken(bad, b"", bad, GOOD)
    assert (await connect(server.url).agenerate(REQUEST)).text == "Rest."
    assert server.asked == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 409, 413, 422, 424, 500, 501])
def test_others_are_not(broken, connect, status: int) -> None:
    server = broken(page(status, "text/plain", "x"), GOOD)
    with pytest.raises(EndpointError) as caught:
        connect(server.url).generate(REQUEST)
    assert caught.value.status == status
    assert server.asked == 1


def test_only_so_often(broken, connect) -> None:
    server = broken(page(503, "text/plain", "x"))
    with pytest.raises(EndpointBusyError):
        connect(server.url, max_retries=2).generate(REQUEST)
    assert server.asked == 3
    with pytest.raises(EndpointBusyError):
        connect(server.url, max_retries=0).generate(REQUEST)
    assert server.asked == 4


async def test_what_the_server_asks_to_wait_is_waited(waits, broken, connect) -> None:
    server = broken(page(429, "text/plain", "x", "Retry-After: 1"), GOOD)
    began = time.monotonic()
    assert (await connect(server.url).agenerate(REQUEST)).text == "Rest."
    assert 1 <= time.monotonic() - began < 4


def test_a_longer_wait_than_there_is_time_for_is_not_begun(waits, broken, connect) -> None:
    server = broken(page(429, "text/plain", "x", "Retry-After: 60"), GOOD)
    began = time.monotonic()
    with pytest.raises(EndpointBusyError) as caught:
        connect(server.url, retry_seconds=5).generate(REQUEST)
    assert time.monotonic() - began < 3
    assert caught.value.retry_after == 60
    assert server.asked == 1


def test_the_total_is_capped(broken, connect, monkeypatch) -> None:
    monkeypatch.setattr("chatdoctor_hub.inference.endpoint.limits._FIRST_WAIT", 0.2)
    monkeypatch.setattr("chatdoctor_hub.inference.endpoint.limits._LONGEST_WAIT", 0.4)
    server = broken(page(503, "text/plain", "x"))
    began = time.monotonic()
    with pytest.raises(EndpointBusyError):
        connect(server.url, max_retries=1000, retry_seconds=1).generate(REQUEST)
    assert time.monotonic() - began < 3


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("3", 3),
        ("0.5", 0.5),
        ("", None),
        (None, None),
        ("soon", None),
        ("-1", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after(header: str | None, seconds: float | None) -> None:
    assert retry_after_of(header) == seconds


def test_retry_after_as_a_date() -> None:
    later = datetime.now(timezone.utc) + timedelta(seconds=30)
    assert 25 < (retry_after_of(format_datetime(later, usegmt=True)) or 0) <= 30
    assert retry_after_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0


@pytest.mark.parametrize(
    ("said", "private", "expected"),
    [
        ("model `x` not found", [], "model `x` not found"),
        ("bad input: 'my knee'", ["My KNEE hurts"], "bad input: '… …'"),
        ("a\nb   c.", [], "a b c"),
        ("<html>secret</html>", [], ""),
        ("x" * 500, [], "x" * 200 + "…"),
        ("the input is too long", ["the input is what I ate too"], "the input is too long"),
    ],
)
def test_what_a_server_says_is_repeated_without_the_conversation(
    said: str, private: list, expected: str
) -> None:
    assert told(said, private) == expected
