"""The pieces of an answer, as they come, for the threads and tasks that read them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator
from queue import SimpleQueue

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.scheduling.scheduler import Scheduler
from chatdoctor_hub.inference.scheduling.tickets import Delivery, Ticket
from chatdoctor_hub.inference.types import ChatDelta

__all__ = ["apieces", "pieces"]


def pieces(scheduler: Scheduler, ticket: Ticket) -> Generator[ChatDelta, None, None]:
    """The pieces, for a thread; the request goes out with the first. Who closes the generator has left."""
    come: SimpleQueue[Delivery] = SimpleQueue()
    process = os.getpid()
    ticket.stream(come.put)
    scheduler.submit([ticket])
    try:
        over = False
        while not over:
            if os.getpid() != process:
                raise GenerationError(
                    "Expected a stream to be read where it was begun, found it in a forked process; begin one there."
                )
            delta, over = _read(come.get())
            yield delta
    finally:
        ticket.leave()


async def apieces(scheduler: Scheduler, make: Callable[[], Ticket]) -> AsyncGenerator[ChatDelta, None]:
    """The pieces, for a task; `make` makes the ticket, in a thread of its own."""
    come: asyncio.Queue[Delivery] = asyncio.Queue()
    with scheduler.expecting():
        ticket = await asyncio.to_thread(make)
        loop = asyncio.get_running_loop()
        ticket.stream(lambda piece: loop.call_soon_threadsafe(come.put_nowait, piece))
        scheduler.submit([ticket])
    try:
        over = False
        while not over:
            delta, over = _read(await come.get())
            yield delta
    finally:
        ticket.leave()


def _read(piece: Delivery) -> tuple[ChatDelta, bool]:
    if isinstance(piece, BaseException):
        raise piece
    return piece, piece.finish_reason is not None
