"""The events of a streamed answer, until it is whole, and a little longer."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, suppress

import anyio
import httpx
from httpx_sse import EventSource, ServerSentEvent

from chatdoctor_hub.inference.endpoint.clock import Clock
from chatdoctor_hub.inference.endpoint.pacing import Paced, chunk_of
from chatdoctor_hub.inference.endpoint.replies import Assembler
from chatdoctor_hub.inference.types import ChatDelta

__all__ = ["ending", "read_stream", "read_stream_async"]

_DONE = "[DONE]"
_TAIL_SECONDS = 5.0
"""For the counts of tokens and the mark of the end, after the server has said why the answer ended."""
_DRAIN_SECONDS = 1.0
"""For the end of the body after the mark: read, so that the connection can be used again."""
_BROKEN = (httpx.HTTPError, httpx.StreamError, TimeoutError)


def read_stream(
    response: httpx.Response, assembler: Assembler, where: str, clock: Clock
) -> Generator[ChatDelta, None, None]:
    """The deltas of a streaming response.

    Args:
        response: being streamed.
        assembler: puts the chunks together.
        where: the address, for messages.
        clock: of the request.
    """
    paced = Paced(response, where, clock)
    events = EventSource(paced).iter_sse()  # type: ignore[arg-type]
    marked = False
    for event in events:
        paced.event_seen()
        if delta := _delta(event, assembler, where):
            yield delta
        marked = event.data == _DONE
        if marked or assembler.over:
            break
    if assembler.over and not marked:
        # The answer is whole: a line that breaks from here on takes nothing away.
        rest: list[ChatDelta] = []
        clock.shorten(_TAIL_SECONDS)
        with suppress(*_BROKEN):
            for event in events:
                marked = event.data == _DONE
                if marked:
                    break
                if delta := _delta(event, assembler, where):
                    rest.append(delta)
        yield from rest
    yield from ending(assembler, marked)
    clock.shorten(_DRAIN_SECONDS)
    with suppress(*_BROKEN):
        for _ in events:
            pass


async def read_stream_async(
    response: httpx.Response, assembler: Assembler, where: str, clock: Clock
) -> AsyncGenerator[ChatDelta, None]:
    """`read_stream`, without blocking the event loop."""
    paced = Paced(response, where, clock)
    async with aclosing(EventSource(paced).aiter_sse()) as events:  # type: ignore[arg-type]
        marked = False
        async for event in events:
            paced.event_seen()
            if delta := _delta(event, assembler, where):
                yield delta
            marked = event.data == _DONE
            if marked or assembler.over:
                break
        if assembler.over and not marked:
            rest: list[ChatDelta] = []
            with suppress(*_BROKEN), anyio.move_on_after(_TAIL_SECONDS):
                async for event in events:
                    marked = event.data == _DONE
                    if marked:
                        break
                    if delta := _delta(event, assembler, where):
                        rest.append(delta)
            for delta in rest:
                yield delta
        for delta in ending(assembler, marked):
            yield delta
        with suppress(*_BROKEN), anyio.move_on_after(_DRAIN_SECONDS):
            async for _ in events:
                pass


def ending(assembler: Assembler, marked: bool) -> Iterator[ChatDelta]:
    """The last deltas.

    Args:
        assembler: of the answer.
        marked: whether the server marked the end.
    """
    end = assembler.end(marked)
    if rest := assembler.rest():
        yield ChatDelta(rest)
    yield end


def _delta(event: ServerSentEvent, assembler: Assembler, where: str) -> ChatDelta | None:
    if not event.data or event.data == _DONE:
        return None
    return assembler.feed(chunk_of(event.data, where))
