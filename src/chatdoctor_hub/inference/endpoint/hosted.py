"""`HostedLine`: models by their Hub id, through huggingface_hub's clients (providers and Inference Endpoints)."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping
from contextlib import aclosing, contextmanager
from typing import Any

import anyio

from chatdoctor_hub.errors import (
    ChatDoctorError,
    EndpointAccessError,
    EndpointConnectionError,
    EndpointError,
    EndpointNotFoundError,
    EndpointServerError,
    GenerationError,
)
from chatdoctor_hub.inference.endpoint.calls import Answer, Call
from chatdoctor_hub.inference.endpoint.faults import fault_in, fault_of, retry_after_of, told
from chatdoctor_hub.inference.endpoint.limits import Limits
from chatdoctor_hub.inference.endpoint.loops import PerLoop
from chatdoctor_hub.inference.endpoint.pacing import too_slow
from chatdoctor_hub.inference.endpoint.replies import Assembler
from chatdoctor_hub.inference.types import ChatDelta

__all__ = ["HostedLine"]

# Names, because huggingface_hub 1 is built on httpx and 2 on httpx2.
_LOST = frozenset({"NetworkError", "RemoteProtocolError", "ConnectTimeout", "ConnectionError"})
_SLOW = frozenset({"InferenceTimeoutError", "TimeoutException", "TimeoutError"})
_KINDS = {"OverloadedError": "overloaded", "ValidationError": "validation", "GenerationError": "generation"}


class HostedLine:
    """A line to the models that Hugging Face serves or routes to: one attempt at a call, without repeats.

    A client of huggingface_hub keeps what it streams until it is closed, so every stream has a client of its own. The
    asynchronous one dies with its event loop, so whole answers share one in each. (The connections of threads
    are pooled by huggingface_hub.)

    Args:
        model: its id on the Hub.
        provider: who is to serve it; None for huggingface_hub's choice.
        token: an access token, None for none.
        headers: more headers to send.
        limits: how long it may take, and how many requests may be on their way.
    """

    def __init__(
        self,
        model: str,
        provider: str | None,
        token: str | None,
        headers: dict[str, str] | None,
        limits: Limits,
    ) -> None:
        self.where = f"{model} on Hugging Face"
        self._limits = limits
        self._settings: dict[str, Any] = {"model": model, "provider": provider, "headers": headers}
        self._token = token
        self._slots = threading.BoundedSemaphore(limits.max_connections)
        self._loops = PerLoop(_close, limits.max_connections)

    def _made(self, kind: type[Any], patience: float) -> Any:
        return kind(**self._settings, token=self._token, timeout=min(patience, self._limits.timeout))

    def _of_loop(self) -> Any:
        from huggingface_hub import AsyncInferenceClient

        return self._made(AsyncInferenceClient, self._limits.timeout)

    def ask(self, call: Call) -> Answer:
        """The answer to a call that is answered in one piece.

        Raises:
            GenerationError: or one of its kinds.
        """
        from huggingface_hub import InferenceClient

        with (
            self._slots,
            self._in_our_words(call),
            self._made(InferenceClient, self._limits.timeout) as client,
        ):
            return Answer(200, client.chat_completion(**_arguments(call)))

    def pieces(self, call: Call) -> Generator[ChatDelta, None, None]:
        """The deltas of a call that is answered in pieces; closing it ends the request."""
        from huggingface_hub import InferenceClient

        assert call.assembler
        assembler = call.assembler()
        deadline = time.monotonic() + self._limits.timeout
        patience = self._limits.chunk_timeout
        with (
            self._slots,
            self._in_our_words(call, assembler),
            self._made(InferenceClient, patience) as client,
        ):
            for chunk in client.chat_completion(**_arguments(call)):
                self._check(deadline)
                if delta := assembler.feed(chunk):
                    yield delta
            yield from _ending(assembler)

    async def ask_async(self, call: Call) -> Answer:
        """`ask`, without blocking the event loop."""
        client, slots = await self._loops.get(self._of_loop)
        async with slots:
            with self._in_our_words(call), anyio.fail_after(self._limits.timeout):
                return Answer(200, await client.chat_completion(**_arguments(call)))

    async def pieces_async(self, call: Call) -> AsyncGenerator[ChatDelta, None]:
        """`pieces`, without blocking the event loop."""
        from huggingface_hub import AsyncInferenceClient

        assert call.assembler
        assembler = call.assembler()
        deadline = time.monotonic() + self._limits.timeout
        _, slots = await self._loops.get(self._of_loop)
        with self._in_our_words(call, assembler):
            async with slots, self._made(AsyncInferenceClient, self._limits.chunk_timeout) as client:
                async with aclosing(await client.chat_completion(**_arguments(call))) as chunks:
                    async for chunk in chunks:
                        self._check(deadline)
                        if delta := assembler.feed(chunk):
                            yield delta
                for delta in _ending(assembler):
                    yield delta

    def _check(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise too_slow(self.where, "the whole answer in the time it may take")

    @contextmanager
    def _in_our_words(self, call: Call, assembler: Assembler | None = None) -> Iterator[None]:
        try:
            yield
        except ChatDoctorError:
            raise
        except Exception as error:
            found = self._told(error, call)
            if found is None:
                raise
            if assembler is not None and isinstance(found, EndpointError):
                found.text_so_far = assembler.text
            raise found from error

    def _told(self, error: Exception, call: Call) -> GenerationError | None:
        names = {kind.__name__ for kind in type(error).__mro__}
        response = getattr(error, "response", None)
        if response is not None:
            try:
                body = response.content
            except Exception:  # noqa: BLE001  a body that was not read; httpx and httpx2 have errors of their own
                body = b""
            wait = retry_after_of(response.headers.get("retry-after"))
            return fault_of(response.status_code, body, self.where, call.private, wait)
        if "TextGenerationError" in names:
            kind = next((_KINDS[name] for name in _KINDS if name in names), "")
            return fault_in({"error": str(error), "error_type": kind}, self.where, call.private)
        if "OfflineModeIsEnabled" in names:
            return EndpointConnectionError(
                f"{self.where}: expected to reach Hugging Face, found HF_HUB_OFFLINE set; unset it, or give the base_url "
                "of a server that is at hand."
            )
        if names & _SLOW and "ConnectTimeout" not in names:
            return too_slow(self.where, "an answer in the time it may take")
        if names & _LOST:
            return EndpointConnectionError(
                f"{self.where}: expected an answer, found a broken connection ({type(error).__name__}); try again later."
            )
        words = told(str(error), call.private)
        if isinstance(error, ValueError) and ("api_key" in words or "log in" in words):
            return EndpointAccessError(
                f"{self.where}: expected a token, found none; log in, or give api_key."
            )
        if isinstance(error, (ValueError, TypeError, KeyError)):
            if "JSON" in type(error).__name__:
                return EndpointServerError(
                    f"{self.where}: expected an answer, found no JSON; try again later."
                )
            return EndpointNotFoundError(
                f"{self.where}: expected a model that is served, found that it is not ({words}); choose another model "
                "or provider."
            )
        return None

    def close(self) -> None:
        """Close the clients of all event loops, within them."""
        self._loops.close()

    async def aclose(self) -> None:
        """`close`, waiting for that of this event loop."""
        await self._loops.aclose()
        self.close()


async def _close(client: Any) -> None:
    await client.close()


def _arguments(call: Call) -> dict[str, Any]:
    payload: Mapping[str, Any] = call.payload or {}
    return dict(payload)


def _ending(assembler: Assembler) -> Iterator[ChatDelta]:
    end = assembler.end(marked=True)
    if rest := assembler.rest():
        yield ChatDelta(rest)
    yield end
