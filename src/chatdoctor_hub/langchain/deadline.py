"""A time limit for engines in this process, which know none of their own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

from chatdoctor_hub.inference.engine import Engine
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, Form
from chatdoctor_hub.langchain.errors import AnswerTimeoutError

__all__ = ["TimedEngine"]

T = TypeVar("T")


class TimedEngine:
    """An engine that gives up on an answer after some seconds, at the next token. Follows the `Engine` protocol.

    Args:
        engine: the one that answers.
        seconds: for one answer, or for all answers of a batch.
    """

    def __init__(self, engine: Engine, seconds: float) -> None:
        self._engine = engine
        self._seconds = seconds

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def generate(self, request: ChatRequest) -> ChatReply:
        """The whole answer to one request."""
        return self._wait(self._engine.agenerate(request))

    def generate_batch(self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False) -> Any:
        """The answers to several requests."""
        if return_exceptions:
            return self._wait(self._engine.agenerate_batch(requests, return_exceptions=True))
        return self._wait(self._engine.agenerate_batch(requests))

    def stream(self, request: ChatRequest) -> Iterator[ChatDelta]:
        """The answer in pieces."""
        deltas = self._engine.stream(request)
        left = self._seconds
        try:
            while True:
                started = time.monotonic()
                delta = next(deltas, None)
                if delta is None:
                    return
                left = self._left(left, started, delta)
                yield delta
        finally:
            if hasattr(deltas, "close"):
                deltas.close()

    async def agenerate(self, request: ChatRequest) -> ChatReply:
        """`generate`, without blocking the event loop."""
        return await self._await(self._engine.agenerate(request))

    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False
    ) -> Any:
        """`generate_batch`, without blocking the event loop."""
        if return_exceptions:
            return await self._await(self._engine.agenerate_batch(requests, return_exceptions=True))
        return await self._await(self._engine.agenerate_batch(requests))

    async def astream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """`stream`, without blocking the event loop."""
        deltas = self._engine.astream(request)
        left, started = self._seconds, time.monotonic()
        try:
            async for delta in deltas:
                left = self._left(left, started, delta)
                yield delta
                started = time.monotonic()
        finally:
            if hasattr(deltas, "aclose"):
                await deltas.aclose()

    def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        form: Form = "serving",
    ) -> int:
        """Tokens of the prompt these messages become."""
        return self._engine.count_tokens(messages, tools, form=form)

    def describe(self) -> EngineInfo:
        """What the engine is and runs on."""
        return self._engine.describe()

    def close(self) -> None:
        """Let go of the model."""
        self._engine.close()

    async def aclose(self) -> None:
        """Let go of the model."""
        await self._engine.aclose()

    def _wait(self, answer: Coroutine[Any, Any, T]) -> T:
        """The answer, from an event loop in a thread of its own: the caller's may be running one.

        Whoever is interrupted while waiting gives the answer up, and does not wait for its end.
        """
        begun: SimpleQueue[Callable[[], object]] = SimpleQueue()

        async def awaited() -> T:
            task = asyncio.current_task()
            assert task is not None
            begun.put(partial(asyncio.get_running_loop().call_soon_threadsafe, task.cancel))
            return await self._await(answer)

        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(lambda: asyncio.run(awaited()))
            try:
                return future.result()
            except BaseException:
                if not future.done():
                    cancel = begun.get()
                    with suppress(RuntimeError):  # its loop has just been closed
                        cancel()
                raise

    async def _await(self, answer: Coroutine[Any, Any, T]) -> T:
        try:
            return await asyncio.wait_for(answer, self._seconds)
        except (asyncio.TimeoutError, TimeoutError) as error:
            if isinstance(error, AnswerTimeoutError):
                raise
            raise self._late() from error

    def _left(self, left: float, started: float, delta: ChatDelta) -> float:
        """Seconds left; what the reader of a stream does with the pieces meanwhile is not counted."""
        left -= time.monotonic() - started
        if left < 0 and delta.finish_reason is None:
            raise self._late()
        return left

    def _late(self) -> AnswerTimeoutError:
        return AnswerTimeoutError(
            f"Expected an answer within {self._seconds:g} seconds, found that it takes longer; raise timeout, or "
            "lower max_tokens."
        )
