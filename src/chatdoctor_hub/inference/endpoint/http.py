"""`HttpLine`: requests to a server by its URL, in threads and in event loops, over pooled connections."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from functools import partial
from typing import Any
from urllib.request import getproxies
from weakref import finalize

import anyio
import httpx

from chatdoctor_hub import __version__
from chatdoctor_hub.errors import ConfigError, EndpointConnectionError, GenerationError
from chatdoctor_hub.inference.endpoint.address import Address
from chatdoctor_hub.inference.endpoint.calls import Answer, Call
from chatdoctor_hub.inference.endpoint.clock import Clock, ClockedTransport
from chatdoctor_hub.inference.endpoint.faults import fault_of, no_chat_server, retry_after_of, unreadable
from chatdoctor_hub.inference.endpoint.lanes import Lanes
from chatdoctor_hub.inference.endpoint.limits import Limits
from chatdoctor_hub.inference.endpoint.loops import PerLoop
from chatdoctor_hub.inference.endpoint.pacing import read_all, read_all_async, too_slow
from chatdoctor_hub.inference.endpoint.replies import Assembler
from chatdoctor_hub.inference.endpoint.streams import ending, read_stream, read_stream_async
from chatdoctor_hub.inference.types import ChatDelta

__all__ = ["HttpLine"]

_EVENTS = "text/event-stream"


class HttpLine:
    """A line to one server: one attempt at a call, without repeats.

    Redirects are not followed, so that neither the token nor what the patient wrote goes anywhere else.

    Args:
        address: of the server.
        token: to send as a bearer token, None for none.
        headers: more headers to send.
        limits: how long it may take, and how many requests may be on their way.
    """

    def __init__(
        self, address: Address, token: str | None, headers: dict[str, str] | None, limits: Limits
    ) -> None:
        self.where = address.root
        self._address = address
        self._limits = limits
        self._headers = _headers(address, token, headers or {})
        most = limits.max_connections
        self._pool = httpx.Limits(max_connections=most, max_keepalive_connections=most, keepalive_expiry=30.0)
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(most)
        self._loops = PerLoop(httpx.AsyncClient.aclose, most)

    def _settings(self, transport: Callable[..., Any]) -> dict[str, Any]:
        # Certificate authorities take 20 ms to read, and nobody asks for them without encryption.
        verify = httpx.create_ssl_context() if self._address.secure else False
        settings: dict[str, Any] = {"headers": self._headers, "follow_redirects": False}
        # A transport of one's own puts an end to the proxies of the environment.
        if not self._address.loopback and getproxies():
            return {**settings, "verify": verify, "limits": self._pool, "trust_env": True}
        return {**settings, "transport": transport(verify=verify, trust_env=False), "trust_env": False}

    def _of_loop(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(**self._settings(Lanes))

    def _request(self, client: httpx.Client | httpx.AsyncClient, call: Call, clock: Clock) -> httpx.Request:
        url = self._address.root + call.path
        connect = min(10.0, self._limits.timeout)
        timeout = httpx.Timeout(min(clock.silence, self._limits.timeout), connect=connect, pool=None)
        if call.payload is None:
            return client.build_request("GET", url, timeout=timeout)
        headers = {"Content-Type": "application/json"}
        if call.assembler:
            headers |= {"Accept": _EVENTS, "Cache-Control": "no-store"}
        body = json.dumps(call.payload, separators=(",", ":")).encode()
        return client.build_request("POST", url, content=body, headers=headers, timeout=timeout)

    def _clock(self, call: Call) -> Clock:
        # An answer in one piece may stay away until it is whole; a stream must not be silent for long.
        whole = self._limits.timeout
        return Clock(whole, self._limits.chunk_timeout if call.assembler else whole)

    # In threads

    def ask(self, call: Call) -> Answer:
        """The answer to a call that is answered in one piece.

        Raises:
            GenerationError: or one of its kinds.
        """
        with self._slots, self._in_our_words():
            clock = self._clock(call)
            response = self._sent(call, clock)
            try:
                return self._answer(response, read_all(response, self.where, clock), call)
            finally:
                response.close()

    def pieces(self, call: Call) -> Generator[ChatDelta, None, None]:
        """The deltas of a call that is answered in pieces; closing it ends the request."""
        assert call.assembler
        assembler = call.assembler()
        with self._slots, self._in_our_words(assembler):
            clock = self._clock(call)
            response = self._sent(call, clock)
            try:
                if self._is_stream(response):
                    yield from read_stream(response, assembler, self.where, clock)
                else:
                    body = read_all(response, self.where, clock)
                    yield from self._of_one_piece(self._answer(response, body, call), assembler)
            finally:
                response.close()

    def _sent(self, call: Call, clock: Clock) -> httpx.Response:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(**self._settings(partial(ClockedTransport, limits=self._pool)))
                finalize(self, _close, self._client, os.getpid())
            client = self._client
        request = self._request(client, call, clock)
        if not client.trust_env:  # then the transport is our own
            request.extensions["timeout"] |= {"read": clock, "write": clock}
        return client.send(request, stream=True)

    # In event loops

    async def ask_async(self, call: Call) -> Answer:
        """`ask`, without blocking the event loop."""
        client, slots = await self._loops.get(self._of_loop)
        async with slots:
            with self._in_our_words(), anyio.fail_after(self._limits.timeout):
                clock = self._clock(call)
                response = await client.send(self._request(client, call, clock), stream=True)
                try:
                    return self._answer(response, await read_all_async(response, self.where, clock), call)
                finally:
                    await response.aclose()

    async def pieces_async(self, call: Call) -> AsyncGenerator[ChatDelta, None]:
        """`pieces`, without blocking the event loop."""
        assert call.assembler
        assembler = call.assembler()
        client, slots = await self._loops.get(self._of_loop)
        async with slots:
            with self._in_our_words(assembler):
                clock = self._clock(call)
                with anyio.fail_after(self._limits.timeout):
                    response = await client.send(self._request(client, call, clock), stream=True)
                try:
                    if self._is_stream(response):
                        read = read_stream_async(response, assembler, self.where, clock)
                        async with aclosing(read) as deltas:
                            async for delta in deltas:
                                yield delta
                    else:
                        body = await read_all_async(response, self.where, clock)
                        for delta in self._of_one_piece(self._answer(response, body, call), assembler):
                            yield delta
                finally:
                    await response.aclose()

    # In both

    def _is_stream(self, response: httpx.Response) -> bool:
        kind = response.headers.get("content-type", "")
        return response.status_code < 300 and kind.startswith(_EVENTS)

    def _answer(self, response: httpx.Response, body: bytes, call: Call) -> Answer:
        status = response.status_code
        kind = response.headers.get("content-type", "")
        is_page = kind.startswith("text/html") or body[:64].lstrip().lower().startswith(
            (b"<!doctype html", b"<html")
        )
        # A gateway may fail on a route that is not there.
        passing = status == 429 or (status >= 500 and not (status in (500, 501) and call.payload is None))
        if status >= 300 and not (call.lenient and not passing):
            if is_page and 400 <= status < 500 and status not in (401, 403, 408, 429):
                raise no_chat_server(self.where, f"a web page ({status})", status)
            wait = retry_after_of(response.headers.get("retry-after"))
            raise fault_of(status, body, self.where, call.private, wait)
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            if not call.lenient:
                if is_page:
                    raise no_chat_server(self.where, "a web page", status) from None
                raise unreadable(self.where, "one that is no JSON", status=status) from None
            parsed = None
        return Answer(status, parsed, is_page)

    def _of_one_piece(self, answer: Answer, assembler: Assembler) -> Iterator[ChatDelta]:
        """The deltas of a server that does not stream."""
        if delta := assembler.feed(answer.body):
            yield delta
        yield from ending(assembler, marked=False)

    @contextmanager
    def _in_our_words(self, assembler: Assembler | None = None) -> Iterator[None]:
        """Turn what httpx raises into errors of ours; a stream's text goes with them."""
        try:
            yield
        except GenerationError as error:
            if assembler is not None and hasattr(error, "text_so_far"):
                error.text_so_far = error.text_so_far or assembler.text
            if assembler is None or not assembler.ended:
                raise
        except (httpx.TimeoutException, TimeoutError) as error:
            if assembler is not None and assembler.ended:
                return
            told = (
                self._lost("it did not take the connection in time")
                if isinstance(error, httpx.ConnectTimeout)
                else too_slow(self.where, "an answer in the time it may take")
            )
            told.text_so_far = assembler.text if assembler else ""
            raise told from error
        except (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError, UnicodeError) as error:
            if assembler is not None and assembler.ended:
                return
            told = self._lost(type(error).__name__)
            told.text_so_far = assembler.text if assembler else ""
            raise told from error

    def _lost(self, found: str) -> EndpointConnectionError:
        return EndpointConnectionError(
            f"{self.where}: expected a server that answers, found a broken connection ({found}); check that it runs "
            "and that base_url is right."
        )

    def close(self) -> None:
        """Close all connections; those of event loops that run, within them."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()
        self._loops.close()

    async def aclose(self) -> None:
        """`close`, waiting for those of this event loop."""
        await self._loops.aclose()
        self.close()


def _close(client: httpx.Client, process: int) -> None:
    # In a fork, the connections are the parent's, and their locks may be as they were in the middle of something.
    if os.getpid() == process:
        client.close()


def _headers(address: Address, token: str | None, given: Mapping[str, str]) -> httpx.Headers:
    """What the head of every request has.

    Raises:
        ConfigError: naming those that no request can carry.
    """
    wrong = [
        name
        for name, value in given.items()
        if not all(f"{t}".isascii() and f"{t}".isprintable() for t in (name, value))
    ]
    if wrong:
        raise ConfigError(
            f"Expected headers of printable ASCII, found others in {', '.join(map(repr, wrong))}; correct them."
        )
    found = httpx.Headers({"User-Agent": f"chatdoctor-hub/{__version__}"})
    found.update(dict(given))
    if token:
        found["Authorization"] = f"Bearer {token}"
    elif address.login:
        found["Authorization"] = f"Basic {address.login}"
    return found
