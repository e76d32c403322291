"""One computation for a whole `batch`, while each input keeps a run of its own.

LangChain opens, traces, caches and closes a run around every call of a chat model. To keep all of that
as it is, each input of a batch is invoked as usual, in a thread or task of its own, up to the point
where the model would compute: there it takes its seat and waits. When every input has either taken its
seat or gone without (it was in the cache, it failed, it streams), the requests are computed together.

An engine that answers together whatever comes at the same time would be as quick with inputs that simply call it
(64 of them, in this process, are). But a batch is one call of the engine here: one that asks a server goes on in a
single event loop instead of a thread an input, and Ctrl-C ends the whole computation at its next token, where
threads that wait for an answer each would be waited for to the last.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables.config import ContextThreadPoolExecutor

from chatdoctor_hub.inference import ChatReply, ChatRequest

__all__ = ["Seat", "abatch_together", "batch_together", "seat_of"]

Outcome = ChatReply | Exception
Compute = Callable[[list[ChatRequest]], Sequence[Outcome]]
AsyncCompute = Callable[[list[ChatRequest]], Awaitable[Sequence[Outcome]]]

_SEAT: ContextVar[Seat | None] = ContextVar("chatdoctor_hub_seat", default=None)


class Seat:
    """One input's place in a batch.

    Args:
        table: the batch.
        owner: the model the batch belongs to; other models called on the way have no seat.
    """

    def __init__(self, table: _Table, owner: object) -> None:
        self._table = table
        self.owner = owner
        self._open = True

    def take(self, request: ChatRequest) -> Future[ChatReply]:
        """Hand in the request; the reply comes when the batch has been computed."""
        self._open = False
        return self._table.take(request)

    def leave(self) -> None:
        """Do not wait for this input (any longer)."""
        if self._open:
            self._open = False
            self._table.leave()


def seat_of(owner: object) -> Seat | None:
    """The seat of the running input in a batch of this model, if it has one and has not used it."""
    seat = _SEAT.get()
    return seat if seat is not None and seat.owner is owner and seat._open else None


class _Table:
    """The requests of a batch, until they are computed.

    Args:
        size: number of inputs.
        ready: called when nobody is missing any more.
    """

    def __init__(self, size: int, ready: Callable[[], Any]) -> None:
        self._missing = size
        self._ready = ready
        self._lock = threading.Lock()
        self._taken: list[tuple[ChatRequest, Future[ChatReply]]] = []
        self._broken: BaseException | None = None

    @property
    def requests(self) -> list[ChatRequest]:
        return [request for request, _ in self._taken]

    def take(self, request: ChatRequest) -> Future[ChatReply]:
        future: Future[ChatReply] = Future()
        with self._lock:
            self._taken.append((request, future))
            if self._broken is not None:
                future.set_exception(self._broken)
        self.leave()
        return future

    def leave(self) -> None:
        with self._lock:
            self._missing -= 1
            last = self._missing == 0
        if last:
            self._ready()

    def settle(self, outcomes: Sequence[Outcome]) -> None:
        for (_, future), outcome in zip(self._taken, outcomes, strict=True):
            if not future.cancelled():
                if isinstance(outcome, BaseException):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    def fail(self, error: BaseException) -> None:
        with self._lock:
            self._broken = error
            waiting = [future for _, future in self._taken if not future.done()]
        for future in waiting:
            future.set_exception(error)


def batch_together(
    owner: object, calls: Sequence[Callable[[], Any]], compute: Compute
) -> list[Any | Exception]:
    """Run the calls in threads, compute their requests together in this one, and give back what they made.

    Args:
        owner: the model that is called.
        calls: one an input; each calls `owner` once.
        compute: answers a list of requests.

    Returns:
        What each call returned, or the exception it raised.
    """
    ready = threading.Event()
    table = _Table(len(calls), ready.set)

    def run(call: Callable[[], Any]) -> Any:
        seat = Seat(table, owner)
        _SEAT.set(seat)
        try:
            return call()
        finally:
            seat.leave()

    with ContextThreadPoolExecutor(max_workers=len(calls)) as pool:
        futures = [pool.submit(run, call) for call in calls]
        try:
            ready.wait()
            if table.requests:
                table.settle(_computed(compute, table.requests))
        except BaseException as error:
            # Ctrl-C: nobody may be left waiting, or the pool would never close.
            table.fail(error)
            raise
    return [future.exception() or future.result() for future in futures]


def _computed(compute: Compute, requests: list[ChatRequest]) -> Sequence[Outcome]:
    try:
        return compute(requests)
    except Exception as error:  # noqa: BLE001  it is raised again in each input's own run
        return [error] * len(requests)


async def abatch_together(
    owner: object, calls: Sequence[Callable[[], Awaitable[Any]]], compute: AsyncCompute
) -> list[Any | Exception]:
    """`batch_together` with tasks in the place of threads; cancelling it cancels all of them."""
    ready = asyncio.Event()
    table = _Table(len(calls), ready.set)

    async def run(call: Callable[[], Awaitable[Any]]) -> Any:
        seat = Seat(table, owner)
        _SEAT.set(seat)
        try:
            return await call()
        finally:
            seat.leave()

    tasks = [asyncio.create_task(run(call)) for call in calls]
    try:
        await ready.wait()
        if table.requests:
            table.settle(await _acomputed(compute, table.requests))
        return await asyncio.gather(*tasks, return_exceptions=True)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise


async def _acomputed(compute: AsyncCompute, requests: list[ChatRequest]) -> Sequence[Outcome]:
    try:
        return await compute(requests)
    except Exception as error:  # noqa: BLE001  it is raised again in each input's own run
        return [error] * len(requests)
