"""`Lines`: the line to a server, opened when it is needed, and calls over it that are repeated where that helps."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import AsyncGenerator, Callable, Generator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.endpoint.address import Address
from chatdoctor_hub.inference.endpoint.calls import Call, Program, run, run_async
from chatdoctor_hub.inference.endpoint.faults import may_pass
from chatdoctor_hub.inference.endpoint.limits import Limits
from chatdoctor_hub.inference.types import ChatDelta

if TYPE_CHECKING:
    from chatdoctor_hub.inference.endpoint.hosted import HostedLine
    from chatdoctor_hub.inference.endpoint.http import HttpLine

__all__ = ["Lines"]

Result = TypeVar("Result")


class Lines:
    """Runs programs of calls against one server, repeating what fails in passing.

    Args:
        address: of the server, None for a hosted model.
        model: the Hub id of a hosted model.
        provider: of a hosted model.
        token: gives the token to send.
        headers: more headers to send.
        limits: how long it may take, and how often it is asked.
    """

    def __init__(
        self,
        address: Address | None,
        model: str | None,
        provider: str | None,
        token: Callable[[], str | None],
        headers: dict[str, str],
        limits: Limits,
    ) -> None:
        self.where = address.root if address is not None else f"{model} on Hugging Face"
        self._address, self._model, self._provider = address, model, provider
        self._token, self._headers, self._limits = token, headers, limits
        self._opened: HttpLine | HostedLine | None = None
        self._closed = False
        self._lock = threading.Lock()
        self._process = os.getpid()

    def run(self, program: Program[Result]) -> Result:
        """Carry out a program in this thread."""
        line = self._line()

        def ask(call: Call) -> Any:
            attempt = partial(_open, line, call) if call.assembler else partial(line.ask, call)
            began = time.monotonic()
            try:
                return attempt()
            except GenerationError as error:
                if not may_pass(error):
                    raise
                return self._limits.retrying(began)(_after(error, attempt))

        return run(program, ask)

    async def run_async(self, program: Program[Result]) -> Result:
        """Carry out a program in the running event loop."""
        line = self._line()

        async def ask(call: Call) -> Any:
            attempt = partial(_open_async, line, call) if call.assembler else partial(line.ask_async, call)
            began = time.monotonic()
            try:
                return await attempt()
            except GenerationError as error:
                if not may_pass(error):
                    raise
                return await self._limits.retrying_async(began)(_after_async(error, attempt))

        return await run_async(program, ask)

    def _line(self) -> HttpLine | HostedLine:
        if self._process != os.getpid():
            # Forked. The connections are the parent's, who would get our answers, and we theirs; so may the lock be.
            self._lock, self._opened, self._process = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._closed:
                raise GenerationError("Expected an open endpoint engine, found it closed; make a new one.")
            if self._opened is None:
                self._opened = self._made()
            return self._opened

    def _made(self) -> HttpLine | HostedLine:
        headers = dict(self._headers)
        if self._address is None:
            from chatdoctor_hub.inference.endpoint.hosted import HostedLine

            return HostedLine(str(self._model), self._provider, self._token(), headers, self._limits)
        from chatdoctor_hub.inference.endpoint.http import HttpLine

        return HttpLine(self._address, self._token(), headers, self._limits)

    def close(self) -> None:
        """Close the line; nothing can be asked any more."""
        line = self._end()
        if line is not None:
            line.close()

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        line = self._end()
        if line is not None:
            await line.aclose()

    def _end(self) -> HttpLine | HostedLine | None:
        with self._lock:
            self._closed = True
            line, self._opened = self._opened, None
            return line


def _after(error: GenerationError, attempt: Callable[[], Any]) -> Callable[[], Any]:
    """An attempt whose first time has been, and failed: so what repeats it is made for the few that do."""
    failed = [error]

    def again() -> Any:
        if failed:
            raise failed.pop()
        return attempt()

    return again


def _after_async(error: GenerationError, attempt: Callable[[], Any]) -> Callable[[], Any]:
    """`_after` for coroutines."""
    failed = [error]

    async def again() -> Any:
        if failed:
            raise failed.pop()
        return await attempt()

    return again


class _Begun:
    """A stream whose first piece has come: until then it may be asked for again, and no longer."""

    def __init__(self, pieces: Generator[ChatDelta, None, None]) -> None:
        self._first: ChatDelta | None = next(pieces)
        self._pieces = pieces

    def __iter__(self) -> _Begun:
        return self

    def __next__(self) -> ChatDelta:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return next(self._pieces)

    def close(self) -> None:
        """End the request."""
        self._pieces.close()


class _BegunAsync:
    """`_Begun`, for event loops."""

    def __init__(self, first: ChatDelta, pieces: AsyncGenerator[ChatDelta, None]) -> None:
        self._first: ChatDelta | None = first
        self._pieces = pieces

    def __aiter__(self) -> _BegunAsync:
        return self

    async def __anext__(self) -> ChatDelta:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        return await anext(self._pieces)

    async def aclose(self) -> None:
        """End the request."""
        await self._pieces.aclose()


def _open(line: HttpLine | HostedLine, call: Call) -> _Begun:
    return _Begun(line.pieces(call))


async def _open_async(line: HttpLine | HostedLine, call: Call) -> _BegunAsync:
    pieces = line.pieces_async(call)
    try:
        return _BegunAsync(await anext(pieces), pieces)
    except BaseException:
        await pieces.aclose()
        raise
