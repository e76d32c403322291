"""`ScriptedEngine`: answers that were written beforehand, for tests of what is built on an engine."""

from __future__ import annotations

import threading
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, overload

from chatdoctor_hub.errors import ConfigError, ContextLengthError, GenerationError
from chatdoctor_hub.inference.calls import ToolCall
from chatdoctor_hub.inference.engine import apply_prompt, as_pair
from chatdoctor_hub.inference.script import (
    arguments_of,
    check_kept,
    cut,
    length_of,
    pieces_of,
    stopped,
    without_oldest,
)
from chatdoctor_hub.inference.types import (
    ChatDelta,
    ChatReply,
    ChatRequest,
    EngineInfo,
    Form,
    TokenLogprob,
    Usage,
)
from chatdoctor_hub.prompts import PromptPair

__all__ = ["Reply", "ScriptedEngine"]

_ONE = (str, ChatReply, ToolCall, Exception)
_NO_REPLY = (
    "Expected a scripted reply to be a text, a ToolCall or several, a ChatReply or an exception, found {}; give "
    "one of these, a list of them, or a function that makes them."
)

Reply = str | ChatReply | ToolCall | Sequence[ToolCall] | Exception
"""A text, a call or several, a whole reply (with reasoning, or calls that cannot be read), or an error to raise."""


class ScriptedEngine:
    """An engine that says what it was told to say, and remembers what it was asked.

    It is honest where a test could be misled: a word counts as a token, `max_tokens` and `stop` cut the
    answer, the prompt pair is applied, bad messages are refused, a script that does not keep to the tool choice
    or the form of the answer that was asked for says so, as does one that has run out. It needs neither torch
    nor a model. Follows the `Engine` protocol.

        ScriptedEngine([ToolCall("lookup", {"name": "gout"}, "call-1"), "It may be gout."])

    Args:
        replies: what to answer, in order; or one reply for every request; or a function from the
            request (prompt pair applied) to the answer. An exception in the place of an answer is raised.
        prompt: a pair or its id; "chatdoctor@1" by default.
        cycle: begin again when the replies have run out, instead of raising `GenerationError`.
        name: what to call it in replies.
        adapters: names that requests may choose besides its own.
        context_length: words that prompt and answer may have together.

    Attributes:
        calls: the requests answered so far, with the messages as a model would have seen them.

    Raises:
        ConfigError: when there is no reply, or something that is none.
    """

    def __init__(
        self,
        replies: Reply | Sequence[Reply] | Callable[[ChatRequest], Reply],
        *,
        prompt: str | PromptPair | None = None,
        cycle: bool = False,
        name: str = "scripted",
        adapters: Sequence[str] = (),
        context_length: int | None = None,
    ) -> None:
        self.calls: list[ChatRequest] = []
        one = isinstance(replies, _ONE)
        self._script: Any = [replies] if one else replies
        self._cycle = cycle or one
        if not callable(self._script):
            _check_script(self._script)
        self._pair = as_pair(prompt)
        self._adapters = tuple(adapters)
        self._lock = threading.Lock()
        self._closed = False
        self._info = EngineInfo(
            engine=type(self).__name__,
            model=name,
            prompt=self._pair.id,
            serving_sha256=self._pair.serving_sha256,
            device="none",
            dtype="none",
            context_length=context_length,
            fingerprint=uuid.uuid4().hex,
        )

    @property
    def prompt(self) -> PromptPair:
        """The prompt pair that is applied."""
        return self._pair

    def describe(self) -> EngineInfo:
        """What this engine is."""
        return self._info

    def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        form: Form = "serving",
    ) -> int:
        """Words of the messages, in the given form, and of the tools as JSON."""
        return length_of(apply_prompt(self._pair, ChatRequest(messages=tuple(messages), form=form)), tools)

    def generate(self, request: ChatRequest) -> ChatReply:
        """The next reply, whole."""
        seen = self._seen(request)
        with self._lock:
            turn = len(self.calls)
            self._check(turn)
            self.calls.append(seen)
        script = self._script
        reply = script(seen) if callable(script) else script[turn % len(script)]
        if isinstance(reply, Exception):
            raise reply
        if not _is_reply(reply):
            raise GenerationError(_NO_REPLY.format(type(reply).__name__))
        return self._whole(reply, seen)

    def _seen(self, request: ChatRequest) -> ChatRequest:
        """The request as a model would see it, once it is known to be one for this engine."""
        if request.adapter not in (None, self._info.model, *self._adapters):
            raise ConfigError(
                f"Expected the adapter to be one of {[self._info.model, *self._adapters]}, found "
                f"{request.adapter!r}; choose one of these."
            )
        messages = apply_prompt(self._pair, request)
        limit = self._info.context_length
        while limit is not None and length_of(messages, request.tools) >= limit:
            shorter = without_oldest(messages) if request.overflow == "drop_oldest" else messages
            if len(shorter) == len(messages):
                raise ContextLengthError(
                    f"{self._info.model}: expected a prompt of less than {limit} tokens, found "
                    f"{length_of(messages, request.tools)}; shorten the conversation."
                )
            messages = shorter
        return replace(request, messages=tuple(messages))

    def _check(self, turn: int) -> None:
        if self._closed:
            raise GenerationError("Expected an open scripted engine, found it closed; make a new one.")
        if not callable(self._script) and turn >= len(self._script) and not self._cycle:
            raise GenerationError(
                f"Expected a scripted reply for request {turn + 1}, found a script of {len(self._script)}; "
                "add replies, or pass cycle=True."
            )

    def _whole(self, reply: Reply, request: ChatRequest) -> ChatReply:
        """The scripted reply as it answers the request: cut where a model would have stopped."""
        given = reply if isinstance(reply, ChatReply) else None
        calls = (reply,) if isinstance(reply, ToolCall) else () if isinstance(reply, str) else reply
        if given is None:
            text = reply if isinstance(reply, str) else ""
            usage = Usage(length_of(request.messages, request.tools), 0)
            given = ChatReply(text, "stop", usage, "", tool_calls=tuple(calls))  # type: ignore[arg-type]
        words, reason = cut(given, request)
        written = len(words) + sum(len(arguments_of(call).split()) for call in given.tool_calls)
        made = replace(
            given,
            text=stopped(words, request.sampling.stop),
            finish_reason=reason,
            usage=given.usage
            if isinstance(reply, ChatReply)
            else replace(given.usage, output_tokens=written),
            model=request.adapter or self._info.model,
        )
        if request.logprobs is None:
            made = replace(made, logprobs=None)
        elif made.logprobs is None:
            made = replace(made, logprobs=tuple(TokenLogprob(word, 0.0) for word in words))
        check_kept(made, request)
        return made

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
        """The next reply, word by word; the arguments of calls in pieces of a few characters."""
        return pieces_of(self.generate(request))

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


def _check_script(script: Any) -> None:
    if not isinstance(script, Sequence):
        raise ConfigError(_NO_REPLY.format(type(script).__name__))
    if not script:
        raise ConfigError("Expected at least one scripted reply, found none; give a string or a function.")
    for reply in script:
        if not _is_reply(reply):
            raise ConfigError(_NO_REPLY.format(type(reply).__name__))


def _is_reply(reply: Any) -> bool:
    calls = isinstance(reply, Sequence) and all(isinstance(call, ToolCall) for call in reply)
    return calls or isinstance(reply, _ONE)
