"""Many connections, each by itself: a pool of httpcore's takes time with the square of its connections."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httpx

__all__ = ["Lanes"]

_IDLE_SECONDS = 30.0
_ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=_IDLE_SECONDS)


class Lanes(httpx.AsyncBaseTransport):
    """A transport for asynchronous clients that gives each request a connection which nobody else uses meanwhile.

    The connection used last is used next; one that was idle for long is closed. There are as many as requests on their
    way at once, so whoever limits those limits the connections. (64 requests at once over one pool of httpcore
    spend more time in it than in all the rest of the client.)

    Args:
        settings: of each connection (`verify`, `trust_env`, …).

    Attributes:
        idle: the connections that wait for a request, each with the time it began to wait.
        busy: how many are in use.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self.idle: deque[tuple[httpx.AsyncHTTPTransport, float]] = deque()
        self.busy = 0
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request over the connection that was used last, or a new one."""
        lane = self.idle.pop()[0] if self.idle else httpx.AsyncHTTPTransport(limits=_ONE, **self._settings)
        self.busy += 1
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            await self.leave(lane)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Body(response.stream, lane, self)
        return response

    async def leave(self, lane: httpx.AsyncHTTPTransport) -> None:
        """Keep a connection for the next request, and close those that none came for."""
        now = time.monotonic()
        self.busy -= 1
        self.idle.append((lane, now))
        while self.idle and (self._closed or now - self.idle[0][1] > _IDLE_SECONDS):
            await self.idle.popleft()[0].aclose()

    async def aclose(self) -> None:
        """Close all connections that are not in use; the others are closed with their responses."""
        self._closed = True
        while self.idle:
            await self.idle.pop()[0].aclose()


class _Body(httpx.AsyncByteStream):
    """The body of a response, which leaves its lane when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, lane: httpx.AsyncHTTPTransport, lanes: Lanes) -> None:
        self._stream, self._lane, self._lanes = stream, lane, lanes
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._open:
                self._open = False
                await self._lanes.leave(self._lane)
