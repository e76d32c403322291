"""`HttpLine`: requests to a server by its URL, in threads and in event loops, over pooled connections."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any
from urllib.request import getproxies

import anyio
import httpx
from httpx_sse import EventSource

from chatdoctor_hub import __version__
from chatdoctor_hub.errors import EndpointConnectionError, GenerationError
from chatdoctor_hub.inference.endpoint.address import Address
from chatdoctor_hub.inference.endpoint.calls import Answer, Call
from chatdoctor_hub.inference.endpoint.faults import fault_of, no_chat_server, retry_after_of, unreadable
from chatdoctor_hub.inference.endpoint.lanes import Lanes
from chatdoctor_hub.inference.endpoint.limits import Limits
from chatdoctor_hub.inference.endpoint.loops import PerLoop
from chatdoctor_hub.inference.endpoint.pacing import Paced, chunk_of, read_all, read_all_async, too_slow
from chatdoctor_hub.inference.endpoint.replies import Assembler
from chatdoctor_hub.inference.types import ChatDelta

__all__ = ["HttpLine"]

_EVENTS = "text/event-stream"
_DONE = "[DONE]"


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
        self.where = address.shown
        self._address = address
        self._limits = limits
        self._headers = {"User-Agent": f"chatdoctor-hub/{__version__}", **(headers or {})}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        self._client: httpx.Client | None = None
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(limits.max_connections)
        self._loops = PerLoop(self._of_loop, httpx.AsyncClient.aclose, limits.max_connections)

    def _settings(self) -> dict[str, Any]:
        most = self._limits.max_connections
        return {
            "headers": self._headers,
            "timeout": httpx.Timeout(
                min(self._limits.chunk_timeout, self._limits.timeout),
                connect=min(10.0, self._limits.timeout),
                pool=None,
            ),
            "limits": httpx.Limits(
                max_connections=most, max_keepalive_connections=most, keepalive_expiry=30.0
            ),
            "follow_redirects": False,
            # Certificate authorities take 20 ms to read, and nobody asks for them without encryption.
            "verify": self._address.secure,
            "trust_env": not self._address.loopback,
        }

    def _of_loop(self) -> httpx.AsyncClient:
        settings = self._settings()
        # A transport of one's own puts an end to the proxies of the environment.
        if not (settings["trust_env"] and getproxies()):
            verify = httpx.create_ssl_context() if self._address.secure else False
            settings["transport"] = Lanes(verify=verify, trust_env=False)
        return httpx.AsyncClient(**settings)

    def _request(self, client: httpx.Client | httpx.AsyncClient, call: Call) -> httpx.Request:
        url = self._address.root + call.path
        # An answer in one piece may stay away until it is whole; a stream must not be silent for long.
        patience = self._limits.chunk_timeout if call.assembler else self._limits.timeout
        timeout = httpx.Timeout(
            min(patience, self._limits.timeout), connect=min(10.0, self._limits.timeout), pool=None
        )
        if call.payload is None:
            return client.build_request("GET", url, timeout=timeout)
        headers = {"Content-Type": "application/json"}
        if call.assembler:
            headers |= {"Accept": _EVENTS, "Cache-Control": "no-store"}
        body = json.dumps(call.payload, separators=(",", ":")).encode()
        return client.build_request("POST", url, content=body, headers=headers, timeout=timeout)

    # In threads

    def ask(self, call: Call) -> Answer:
        """The answer to a call that is answered in one piece.

        Raises:
            GenerationError: or one of its kinds.
        """
        client = self._of_threads()
        with self._slots, self._in_our_words():
            deadline = time.monotonic() + self._limits.timeout
            response = client.send(self._request(client, call), stream=True)
            try:
                return self._answer(response, read_all(response, self.where, deadline), call)
            finally:
                response.close()

    def pieces(self, call: Call) -> Generator[ChatDelta, None, None]:
        """The deltas of a call that is answered in pieces; closing it ends the request."""
        assert call.assembler
        client, assembler = self._of_threads(), call.assembler()
        with self._slots, self._in_our_words(assembler):
            deadline = time.monotonic() + self._limits.timeout
            response = client.send(self._request(client, call), stream=True)
            try:
                if not self._is_stream(response):
                    body = read_all(response, self.where, deadline)
                    yield from self._of_one_piece(self._answer(response, body, call), assembler)
                    return
                paced = Paced(response, self.where, self._limits.chunk_timeout, deadline)
                for event in EventSource(paced).iter_sse():  # type: ignore[arg-type]
                    paced.event_seen()
                    # After its end, the stream is read on, so that the connection can be used again.
                    if event.data == _DONE:
                        yield from self._ending(assembler, marked=True)
                    elif event.data and (delta := self._delta(event.data, assembler)):
                        yield delta
                yield from self._ending(assembler, marked=False)
            finally:
                response.close()

    def _of_threads(self) -> httpx.Client:
        with self._lock:
            if self._client is None:
                self._client = httpx.Client(**self._settings())
            return self._client

    # In event loops

    async def ask_async(self, call: Call) -> Answer:
        """`ask`, without blocking the event loop."""
        client, slots = await self._loops.get()
        async with slots:
            with self._in_our_words(), anyio.fail_after(self._limits.timeout):
                deadline = time.monotonic() + self._limits.timeout
                response = await client.send(self._request(client, call), stream=True)
                try:
                    return self._answer(response, await read_all_async(response, self.where, deadline), call)
                finally:
                    await response.aclose()

    async def pieces_async(self, call: Call) -> AsyncGenerator[ChatDelta, None]:
        """`pieces`, without blocking the event loop."""
        assert call.assembler
        assembler = call.assembler()
        client, slots = await self._loops.get()
        async with slots:
            with self._in_our_words(assembler):
                deadline = time.monotonic() + self._limits.timeout
                with anyio.fail_after(self._limits.timeout):
                    response = await client.send(self._request(client, call), stream=True)
                try:
                    if not self._is_stream(response):
                        body = await read_all_async(response, self.where, deadline)
                        for delta in self._of_one_piece(self._answer(response, body, call), assembler):
                            yield delta
                        return
                    paced = Paced(response, self.where, self._limits.chunk_timeout, deadline)
                    async with aclosing(EventSource(paced).aiter_sse()) as events:  # type: ignore[arg-type]
                        async for event in events:
                            paced.event_seen()
                            if event.data == _DONE:
                                for delta in self._ending(assembler, marked=True):
                                    yield delta
                            elif event.data and (new := self._delta(event.data, assembler)):
                                yield new
                    for delta in self._ending(assembler, marked=False):
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
        passing = status == 429 or status >= 500
        if status >= 300 and not (call.lenient and not passing):
            if is_page and 400 <= status < 500 and status not in (401, 403, 408, 429):
                raise no_chat_server(self.where, f"a web page ({status})", status)
            wait = retry_after_of(response.headers.get("retry-after"))
            raise fault_of(status, body, self.where, call.private, wait)
        try:
            parsed = json.loads(body)
        except ValueError:
            if not call.lenient:
                if is_page:
                    raise no_chat_server(self.where, "a web page", status) from None
                raise unreadable(self.where, "one that is no JSON", status=status) from None
            parsed = None
        return Answer(status, parsed, is_page)

    def _delta(self, data: str, assembler: Assembler) -> ChatDelta | None:
        return None if assembler.ended else assembler.feed(chunk_of(data, self.where))

    def _of_one_piece(self, answer: Answer, assembler: Assembler) -> Iterator[ChatDelta]:
        """The deltas of a server that does not stream."""
        if delta := assembler.feed(answer.body):
            yield delta
        yield from self._ending(assembler, marked=False)

    def _ending(self, assembler: Assembler, marked: bool) -> Iterator[ChatDelta]:
        if assembler.ended:
            return
        end = assembler.end(marked)
        if rest := assembler.rest():
            yield ChatDelta(rest)
        yield end

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
