"""`ScriptedEngine`: answers that were written beforehand, for tests of what is built on an engine."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

from chatdoctor_hub.errors import ConfigError, GenerationError
from chatdoctor_hub.inference.engine import apply_prompt, as_pair
from chatdoctor_hub.inference.text import StopFinder
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, FinishReason, Usage
from chatdoctor_hub.prompts import PromptPair

__all__ = ["ScriptedEngine"]

_WORD = re.compile(r"\s*\S+|\s+\Z")

Reply = str | Exception


class ScriptedEngine:
    """An engine that says what it was told to say, and remembers what it was asked.

    It is honest where a test could be misled: a word counts as a token, `max_tokens` and `stop` cut the
    answer, the prompt pair is applied, bad messages are refused, and a script that has run out says so.
    It needs neither torch nor a model. Follows the `Engine` protocol.

    Args:
        replies: what to answer, in order; or one string for every request; or a function from the
            request (prompt pair applied) to the answer. An exception in the place of an answer is raised.
        prompt: a pair or its id; "chatdoctor@1" by default.
        cycle: begin again when the replies have run out, instead of raising `GenerationError`.
        name: what to call it in replies.

    Attributes:
        calls: the requests answered so far, with the messages as a model would have seen them.

    Raises:
        ConfigError: when there is no reply.
    """

    def __init__(
        self,
        replies: str | Sequence[Reply] | Callable[[ChatRequest], Reply],
        *,
        prompt: str | PromptPair | None = None,
        cycle: bool = False,
        name: str = "scripted",
    ) -> None:
        self.calls: list[ChatRequest] = []
        self._script = [replies] if isinstance(replies, str) else replies
        self._cycle = cycle or isinstance(replies, str)
        if not callable(self._script) and not self._script:
            raise ConfigError(
                "Expected at least one scripted reply, found none; give a string or a function."
            )
        self._pair = as_pair(prompt)
        self._lock = threading.Lock()
        self._closed = False
        self._info = EngineInfo(
            engine=type(self).__name__,
            model=name,
            prompt=self._pair.id,
            serving_sha256=self._pair.serving_sha256,
            device="none",
            dtype="none",
            context_length=None,
            fingerprint=uuid.uuid4().hex,
        )

    @property
    def prompt(self) -> PromptPair:
        """The prompt pair that is applied."""
        return self._pair

    def describe(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def count_tokens(self, messages: Sequence[Mapping[str, Any]]) -> int:
        """Words of the messages, in the serving form."""
        return _words(apply_prompt(self._pair, ChatRequest(messages=tuple(messages))))

    def generate(self, request: ChatRequest) -> ChatReply:
        """The next reply, whole."""
        pieces = list(self.stream(request))
        last = pieces[-1]
        assert last.finish_reason is not None
        assert last.usage is not None
        return ChatReply("".join(p.text for p in pieces), last.finish_reason, last.usage, self._info.model)

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    def generate_batch(self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False) -> Any:
        """One reply a request, in their order."""
        answer = self._reply_or_error if return_exceptions else self.generate
        return [answer(request) for request in requests]

    def _reply_or_error(self, request: ChatRequest) -> ChatReply | Exception:
        try:
            return self.generate(request)
        except Exception as error:  # noqa: BLE001  a script may hold errors of any kind
            return error

    def stream(self, request: ChatRequest) -> Generator[ChatDelta, None, None]:
        """The next reply, word by word."""
        seen = replace(request, messages=tuple(apply_prompt(self._pair, request)))
        script = self._script
        with self._lock:
            self._check(len(self.calls))
            turn = len(self.calls)
            self.calls.append(seen)
        reply = script(seen) if callable(script) else script[turn % len(script)]
        if isinstance(reply, Exception):
            raise reply
        return self._pieces(reply, seen)

    def _check(self, turn: int) -> None:
        if self._closed:
            raise GenerationError("Expected an open scripted engine, found it closed; make a new one.")
        if not callable(self._script) and turn >= len(self._script) and not self._cycle:
            raise GenerationError(
                f"Expected a scripted reply for request {turn + 1}, found a script of {len(self._script)}; "
                "add replies, or pass cycle=True."
            )

    def _pieces(self, reply: str, request: ChatRequest) -> Generator[ChatDelta, None, None]:
        stops = StopFinder(request.sampling.stop)
        words = _WORD.findall(reply)
        written = 0
        for word in words[: request.sampling.max_tokens]:
            written += 1
            if text := stops.feed(word):
                yield ChatDelta(text)
            if stops.found:
                break
        if text := stops.flush():
            yield ChatDelta(text)
        reason: FinishReason = "stop" if stops.found or written == len(words) else "length"
        yield ChatDelta("", reason, Usage(_words(request.messages), written))

    async def agenerate(self, request: ChatRequest) -> ChatReply:
        """`generate`; there is nothing to wait for."""
        return self.generate(request)

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
        """`generate_batch`; there is nothing to wait for."""
        if return_exceptions:
            return self.generate_batch(requests, return_exceptions=True)
        return self.generate_batch(requests)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """`stream`; there is nothing to wait for."""
        for delta in self.stream(request):
            yield delta

    def close(self) -> None:
        """Refuse further requests."""
        self._closed = True

    async def aclose(self) -> None:
        """Refuse further requests."""
        self.close()


def _words(messages: Sequence[Mapping[str, Any]]) -> int:
    return sum(len(str(message["content"]).split()) for message in messages)
