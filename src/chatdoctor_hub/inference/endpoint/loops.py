"""One client for each event loop, closed within it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any
from weakref import ref

__all__ = ["PerLoop"]


class PerLoop:
    """Makes a client for an event loop when it is first asked for there, and closes it when the loop ends.

    A connection belongs to the event loop it was opened in: a client that is used from another one, or outlives its
    own, fails in ways of its own. The client of a loop is held by an asynchronous generator: `asyncio.run`, and all
    that end loops in order, close these before the loop (`loop.shutdown_asyncgens`).

    Args:
        end: closes a client.
        slots: how many may use it at once.
    """

    def __init__(self, end: Callable[[Any], Awaitable[None]], slots: int) -> None:
        self._end = end
        self._slots = slots
        self._held: dict[
            asyncio.AbstractEventLoop, tuple[AsyncGenerator[Any, None], Any, asyncio.Semaphore]
        ] = {}
        self._lock = threading.Lock()

    async def get(self, make: Callable[[], Any]) -> tuple[Any, asyncio.Semaphore]:
        """The client of the running loop, and what limits its use.

        Args:
            make: makes a client.
        """
        loop = asyncio.get_running_loop()
        held = self._held.get(loop)
        if held is None:
            with self._lock:
                # Whoever ended these loops without ceremony has left their connections to the collector.
                for ended in [known for known in self._held if known.is_closed()]:
                    del self._held[ended]
            keeper = _keep(make(), self._end, loop, ref(self))
            client = await anext(keeper)
            held = (keeper, client, asyncio.Semaphore(self._slots))
            with self._lock:
                self._held[loop] = held
        return held[1], held[2]

    def forget(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of the client of a loop, which is being closed."""
        with self._lock:
            self._held.pop(loop, None)

    async def aclose(self) -> None:
        """Close the client of the running loop."""
        held = self._held.get(asyncio.get_running_loop())
        if held is not None:
            await held[0].aclose()

    def close(self) -> None:
        """Close all clients, each in its own loop as soon as that gets to it."""
        with self._lock:
            everything, self._held = list(self._held.items()), {}
        for loop, (keeper, _, _) in everything:
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(_end(keeper), loop)


async def _keep(
    client: Any,
    end: Callable[[Any], Awaitable[None]],
    loop: asyncio.AbstractEventLoop,
    owner: ref[PerLoop],
) -> AsyncGenerator[Any, None]:
    # No circle of references: the loop is told to close the client as soon as nobody has it any more.
    try:
        yield client
    finally:
        if (known := owner()) is not None:
            known.forget(loop)
        await end(client)


async def _end(keeper: AsyncGenerator[Any, None]) -> None:
    await keeper.aclose()
