"""Many connections as several small pools: httpcore's takes time with the square of its connections."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx

__all__ = ["Sharded"]

_SIZE = 8
"""Connections of one pool."""


class _Shard:
    def __init__(self, transport: httpx.AsyncHTTPTransport) -> None:
        self.transport = transport
        self.busy = 0


class _Counted(httpx.AsyncByteStream):
    """The body of a response, which makes its pool free again when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, shard: _Shard) -> None:
        self._stream = stream
        self._shard: _Shard | None = shard

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        shard, self._shard = self._shard, None
        if shard is not None:
            shard.busy -= 1
        await self._stream.aclose()


class Sharded(httpx.AsyncBaseTransport):
    """A transport for asynchronous clients, made up of pools of a few connections each.

    Each request goes to the pool with the least to do. 64 requests at once over one pool of httpcore spend more time
    in it than in all the rest of the client.

    Args:
        connections: how many there may be in all.
        settings: of each pool (`verify`, `trust_env`, …).
    """

    def __init__(self, connections: int, **settings: Any) -> None:
        sizes = [_SIZE] * (connections // _SIZE) + ([connections % _SIZE] if connections % _SIZE else [])
        self._shards = [
            _Shard(
                httpx.AsyncHTTPTransport(
                    limits=httpx.Limits(
                        max_connections=size, max_keepalive_connections=size, keepalive_expiry=30.0
                    ),
                    **settings,
                )
            )
            for size in sizes
        ]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request by the pool with the least to do."""
        shard = min(self._shards, key=_busy)
        shard.busy += 1
        try:
            response = await shard.transport.handle_async_request(request)
        except BaseException:
            shard.busy -= 1
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _Counted(response.stream, shard)
        return response

    async def aclose(self) -> None:
        """Close all pools."""
        for shard in self._shards:
            await shard.transport.aclose()


def _busy(shard: _Shard) -> int:
    return shard.busy
