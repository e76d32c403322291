"""`EndpointEngine`: answers of a model that a server has."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, closing
from typing import Any, Literal, overload

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.endpoint.address import Address, token_for
from chatdoctor_hub.inference.endpoint.dialects import DIALECTS, Dialect, dialect_named
from chatdoctor_hub.inference.endpoint.limits import Limits
from chatdoctor_hub.inference.endpoint.lines import Lines
from chatdoctor_hub.inference.endpoint.probing import ServerInfo
from chatdoctor_hub.inference.endpoint.talk import Talk
from chatdoctor_hub.inference.engine import as_pair
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, Form
from chatdoctor_hub.prompts import PromptPair

__all__ = ["EndpointEngine"]


class EndpointEngine:
    """An engine whose model is served elsewhere: by TGI, by any server of its Messages API, or by Hugging Face.

    Follows the `Engine` protocol. Requests go out with the serving form of the prompt pair merged in; where the
    server's own template has it baked in as well, that template leaves out what it is sent and nothing doubles. One
    object can be used from any number of threads and event loops. Making one costs nothing: what is needed is opened,
    and the server asked what it is, at the first request.

    Of greedy answers the text is the server's: whether it depends on what else the server has to do is its affair.

    Args:
        base_url: of the server ("http://localhost:8080"; "/v1" may follow); None for a model hosted by Hugging Face.
        model: its name there (an id on the Hub for a hosted one); None for what the server serves.
        provider: who is to serve a hosted model, as huggingface_hub names them.
        api_key: token for this address. Without one, the token of this machine goes to hosts of Hugging Face, and to
            no other; False sends none.
        prompt: a pair or its id; "chatdoctor@1" by default.
        dialect: the kind of server, by its name in `DIALECTS`; None asks the server.
        headers: more headers to send to the server.
        timeout: seconds that one attempt may take, from the connection to the end of the answer.
        chunk_timeout: seconds that a stream may be silent.
        max_retries: how often a request is made again, after 429, 502, 503, 504 and lines that break, and never after
            the first piece of a stream.
        retry_seconds: no attempt begins later than this after the first one did.
        max_connections: how many requests are on their way at once, in each event loop, and in all threads together.

    Raises:
        ConfigError: for settings that are out of range or contradict each other.
        UnknownPromptError: when there is no pair of that id.
    """

    def __init__(
        self,
        base_url: str | None = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        api_key: Any = None,
        prompt: str | PromptPair | None = None,
        dialect: str | Dialect | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = Limits.timeout,
        chunk_timeout: float = Limits.chunk_timeout,
        max_retries: int = Limits.max_retries,
        retry_seconds: float = Limits.retry_seconds,
        max_connections: int = Limits.max_connections,
    ) -> None:
        if base_url is None and not model:
            raise ConfigError("Expected base_url, or the Hub id of a model, found neither; give one of them.")
        if base_url is not None and provider is not None:
            raise ConfigError(
                "Expected base_url or provider, found both; a server by its URL needs no provider."
            )
        self._pair = as_pair(prompt)
        self._limits = Limits(timeout, chunk_timeout, max_retries, retry_seconds, max_connections)
        self._address = address = Address.read(base_url) if base_url is not None else None
        self._model = model
        self._lines = Lines(
            self._address,
            model,
            provider,
            lambda: token_for(address, api_key),
            dict(headers or {}),
            self._limits,
        )
        known = dialect_named(dialect) if dialect is not None else None
        hosted = ServerInfo(known or DIALECTS["openai"], str(model), str(model))
        self._talk = Talk(self._pair, self._lines.where, known, model, hosted if base_url is None else None)

    def describe(self) -> EngineInfo:
        """What this engine is; what only the server knows is there after the first request, or `probe`."""
        server = self._talk.server
        at = self._address.root if self._address else "huggingface"
        return EngineInfo(
            engine=type(self).__name__,
            model=self._model or (server.serves if server else "") or at,
            prompt=self._pair.id,
            serving_sha256=self._pair.serving_sha256,
            device="none",
            dtype="none",
            context_length=server.context_length if server else None,
            # Of what is known from the start, so that it does not change with the first request.
            fingerprint=f"{at} {self._model or ''}".strip(),
        )

    def probe(self) -> ServerInfo:
        """What the server says that it is.

        Raises:
            EndpointError: when nothing of use is there.
        """
        return self._lines.run(self._talk.probing())

    async def aprobe(self) -> ServerInfo:
        """`probe`, without blocking the event loop."""
        return await self._lines.run_async(self._talk.probing())

    def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        form: Form = "serving",
    ) -> int:
        """Tokens of the prompt that these messages and tools become, by the server's own template.

        TGI, vLLM and llama.cpp have a route for it; any other server is asked for an answer of one token.
        """
        request = ChatRequest(tuple(messages), tools=tuple(tools), form=form)
        return self._lines.run(self._talk.counting(request))

    def generate(self, request: ChatRequest) -> ChatReply:
        """The whole answer to one request."""
        return self._lines.run(self._talk.answering(request))

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    def generate_batch(self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False) -> Any:
        """The answers to several requests, in their order; as many at once as there may be connections.

        With `return_exceptions`, a request that cannot be answered has its error in its place; without it, the first
        error is raised, and what has not been sent by then is not sent.
        """
        if len(requests) < 2:
            return [self._reply_or_error(request, return_exceptions) for request in requests]
        stopped = threading.Event()

        def one(request: ChatRequest) -> ChatReply | Exception | None:
            if stopped.is_set():
                return None
            try:
                return self._reply_or_error(request, return_exceptions)
            except BaseException:
                stopped.set()
                raise

        with ThreadPoolExecutor(min(len(requests), self._limits.max_connections)) as pool:
            return list(pool.map(one, requests))

    def _reply_or_error(self, request: ChatRequest, return_exceptions: bool) -> ChatReply | Exception:
        try:
            return self.generate(request)
        except Exception as error:
            if not return_exceptions:
                raise
            return error

    def stream(self, request: ChatRequest) -> Generator[ChatDelta, None, None]:
        """The answer in pieces; the last one has the finish reason and the usage."""
        pieces: Iterator[ChatDelta] = self._lines.run(self._talk.streaming(request))
        with closing(pieces):  # type: ignore[type-var]
            yield from pieces

    async def agenerate(self, request: ChatRequest) -> ChatReply:
        """`generate`, without blocking the event loop."""
        return await self._lines.run_async(self._talk.answering(request))

    @overload
    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False
    ) -> Any:
        """`generate_batch`, without blocking the event loop."""
        tasks = [asyncio.ensure_future(self.agenerate(request)) for request in requests]
        try:
            return await asyncio.gather(*tasks, return_exceptions=return_exceptions)
        finally:
            unfinished = [task for task in tasks if not task.done()]
            for task in unfinished:
                task.cancel()
            await asyncio.gather(*unfinished, return_exceptions=True)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """`stream`, without blocking the event loop."""
        pieces: AsyncIterator[ChatDelta] = await self._lines.run_async(self._talk.streaming(request))
        async with aclosing(pieces) as opened:  # type: ignore[type-var]
            async for delta in opened:
                yield delta

    def close(self) -> None:
        """Close all connections; further calls raise `GenerationError`. Closing twice is fine."""
        self._lines.close()

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        await self._lines.aclose()
