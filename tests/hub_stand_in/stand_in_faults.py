"""The record of what was asked, and faults injected into chosen requests."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from stand_in_refusal import RefusalError
from stand_in_routing import respond
from starlette.requests import Request

if TYPE_CHECKING:
    from stand_in_hub import StandInHub

KINDS_OF_FAULT = ("reset", "429", "500", "503", "412", "slow", "truncate", "kill")
Send = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request.

    reset: the connection is reset; 429, 500, 503, 412: that status in place of an answer; slow: the answer comes
    `seconds` late; truncate: half of the answer's body, then the end; kill: the whole server stops, until
    `StandInHub.start` is called.

    Attributes:
        after: The request is carried out first, and only its answer is lost (reset, 429, 500, 503, 412, kill).
        seconds: The delay of `slow`.
        retry_after: The header Retry-After of 429, in seconds.
    """

    kind: str
    after: bool = False
    seconds: float = 1.0
    retry_after: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS_OF_FAULT:
            raise ValueError(f"a fault is one of {KINDS_OF_FAULT}, found {self.kind!r}")


Match = Callable[[str, str, int], "Fault | None"]


class Faults:
    """The faults that are set, and the log. Requests are counted from 1, from the moment a fault is set."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str, int]] = []
        self._set: list[tuple[int, Match]] = []

    def set(self, match: Match) -> None:
        self._set.append((len(self.log), match))

    def clear(self) -> None:
        self._set.clear()

    def enter(self, method: str, path: str) -> tuple[int, Fault | None]:
        """Log a request (status 0 until it is answered); its place in the log, and the fault that awaits it."""
        self.log.append((method, path, 0))
        place = len(self.log)
        for start, match in self._set:
            fault = match(method, path, place - start)
            if fault is not None:
                return place - 1, fault
        return place - 1, None

    def leave(self, place: int, status: int) -> None:
        method, path, _ = self.log[place]
        self.log[place] = (method, path, status)


class Application:
    """The ASGI application: each request is logged, may go wrong, and is answered."""

    def __init__(self, hub: StandInHub) -> None:
        self._hub = hub

    async def __call__(
        self, scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Send
    ) -> None:
        if scope["type"] != "http":
            return
        hub, request = self._hub, Request(scope, receive)
        place, fault = hub.faults.enter(scope["method"], scope["raw_path"].decode())

        async def sending(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                hub.faults.leave(place, message["status"])
            await send(message)

        if fault is None:
            await self._answer(request, scope, receive, sending)
        elif fault.kind == "slow":
            await request.body()
            await asyncio.sleep(fault.seconds)
            await self._answer(request, scope, receive, sending)
        elif fault.kind == "truncate":
            await self._answer(
                request, scope, receive, _Halved(sending, scope["method"], lambda: self._break(scope))
            )
        else:
            await self._fail(fault, request, scope, receive, sending)

    async def _fail(self, fault: Fault, request: Request, scope: Any, receive: Any, sending: Send) -> None:
        if fault.after:
            await self._answer(request, scope, receive, _ignored)
        if fault.kind == "kill":
            await self._hub.halt()
        elif fault.kind == "reset":
            await self._break(scope, at_once=True)
        else:
            await request.body()
            refusal = RefusalError(int(fault.kind), "A fault was injected here")
            if fault.kind == "429":
                refusal.headers["Retry-After"] = str(fault.retry_after)
            await refusal.response()(scope, receive, sending)

    async def _answer(self, request: Request, scope: Any, receive: Any, send: Send) -> None:
        if self._hub.is_misplaced(request):
            response = RefusalError(404, "This address is served by another host").response()
        else:
            response = await respond(self._hub, request)
        await response(scope, receive, send)

    async def _break(self, scope: dict[str, Any], at_once: bool = False) -> None:
        """Break the connection of a request, at once with a reset or after what is on its way."""
        transport = self._hub.connections.get((scope["client"], scope["server"]))
        if transport is None:
            return  # the client has gone by itself
        if at_once:
            linger = struct.pack("ii", 1, 0)
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            transport.abort()
        else:
            transport.close()
        await asyncio.sleep(0.01)


async def _ignored(message: dict[str, Any]) -> None:
    """Where answers go that get lost."""


class _Halved:
    """Passes on half of a body, then breaks the connection; an answer without a body is lost as a whole."""

    def __init__(self, send: Send, method: str, end: Callable[[], Awaitable[None]]) -> None:
        self._send, self._method, self._end, self._left, self._ended = send, method, end, 0, False

    async def __call__(self, message: dict[str, Any]) -> None:
        if self._ended:
            return
        if message["type"] == "http.response.start":
            lengths = [int(value) for name, value in message["headers"] if name.lower() == b"content-length"]
            self._left = lengths[0] // 2 if lengths and self._method != "HEAD" else 0
            if self._left:
                await self._send(message)
            return
        body = message.get("body", b"")[: self._left]
        self._left -= len(body)
        if body:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
        if not self._left:
            self._ended = True
            await self._end()
