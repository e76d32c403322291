"""Reading what comes over the wire without being kept waiting, or flooded."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import EndpointTimeoutError
from chatdoctor_hub.inference.endpoint.clock import Clock
from chatdoctor_hub.inference.endpoint.faults import unreadable

if TYPE_CHECKING:
    import httpx

__all__ = ["Paced", "chunk_of", "read_all", "read_all_async", "too_slow"]

_MOST_BYTES = 64 << 20
"""Of an answer, and of a piece of one; none that is meant to be read is longer."""


class Paced:
    """The text of a streaming response, in the form that httpx-sse reads, with an eye on the clock.

    httpx counts the time between bytes; a server that keeps the line open with comments would never be given up.

    Args:
        response: being streamed.
        where: the address, for messages.
        clock: of the request.
    """

    def __init__(self, response: httpx.Response, where: str, clock: Clock) -> None:
        self.headers: Mapping[str, str] = response.headers
        self._response = response
        self._where = where
        self._clock = clock
        self._size = 0
        self._begun = False

    def event_seen(self) -> None:
        """Start to count anew."""
        self._clock.heard()
        self._size = 0

    def iter_text(self) -> Iterator[str]:
        """The text as it comes."""
        for text in self._response.iter_text():
            checked, given = self._checked(text), time.monotonic()
            yield checked
            self._clock.pause(time.monotonic() - given)

    async def aiter_text(self) -> AsyncIterator[str]:
        """The text as it comes."""
        async for text in self._response.aiter_text():
            checked, given = self._checked(text), time.monotonic()
            yield checked
            self._clock.pause(time.monotonic() - given)

    def _checked(self, text: str) -> str:
        self._size += len(text)
        if self._size > _MOST_BYTES:
            raise unreadable(self._where, f"a piece of more than {_MOST_BYTES >> 20} MiB")
        if self._clock.is_over:
            raise too_slow(self._where, "the whole answer in the time it may take")
        if self._clock.is_silent:
            raise too_slow(self._where, f"a piece of the answer within {self._clock.silence:g} s")
        if text and not self._begun:
            # The mark of a text in UTF-8, which would hide the first event.
            text, self._begun = text.removeprefix("\ufeff"), True
        return text


def too_slow(where: str, expected: str) -> EndpointTimeoutError:
    """The error for a server that takes too long."""
    return EndpointTimeoutError(
        f"{where}: expected {expected}, found that it had not come; try again later, or set a longer time-out."
    )


def chunk_of(data: str, where: str) -> Any:
    """The JSON of an event."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        # transformers serve writes its errors into such JSON unescaped.
        found = "an error in the stream" if data.startswith('{"error"') else "a piece that is no JSON"
        raise unreadable(where, found) from None


def read_all(response: httpx.Response, where: str, clock: Clock) -> bytes:
    """The whole body."""
    pieces: list[bytes] = []
    size = 0
    for piece in response.iter_bytes():
        pieces.append(piece)
        size += len(piece)
        _check_whole(size, where, clock)
    return b"".join(pieces)


async def read_all_async(response: httpx.Response, where: str, clock: Clock) -> bytes:
    """The whole body."""
    pieces: list[bytes] = []
    size = 0
    async for piece in response.aiter_bytes():
        pieces.append(piece)
        size += len(piece)
        _check_whole(size, where, clock)
    return b"".join(pieces)


def _check_whole(size: int, where: str, clock: Clock) -> None:
    if size > _MOST_BYTES:
        raise unreadable(where, f"one of more than {_MOST_BYTES >> 20} MiB")
    if clock.is_over:
        raise too_slow(where, "the whole answer in the time it may take")
