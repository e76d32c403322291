"""From what comes over the wire to replies and deltas."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.calls import InvalidToolCall, ToolCall, ToolCallDelta
from chatdoctor_hub.inference.endpoint.dialects import Dialect
from chatdoctor_hub.inference.endpoint.faults import fault_in, unreadable
from chatdoctor_hub.inference.endpoint.raw_chunks import chat_chunk
from chatdoctor_hub.inference.text import StopFinder
from chatdoctor_hub.inference.types import (
    ChatDelta,
    ChatReply,
    ChatRequest,
    FinishReason,
    TokenLogprob,
    Usage,
)

__all__ = ["Assembler", "read_reply"]

_LENGTH = frozenset({"length", "max_tokens"})


def read_reply(
    body: Any, request: ChatRequest, dialect: Dialect, model: str, where: str, private: Sequence[str] = ()
) -> ChatReply:
    """The reply in the body of an answer.

    Stop strings that the server left in the text, and what is after them, are taken off. The counts of tokens are 0
    where the server gives none.

    Args:
        body: the JSON of the answer.
        request: what was asked.
        dialect: of the server.
        model: the name to give where the answer has none.
        where: the address, for messages.
        private: texts of the conversation.

    Raises:
        GenerationError: when it is no answer, or one that says what went wrong.
    """
    choice = _first_choice(body, where, private)
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise unreadable(where, "a choice without a message")
    calls, invalid = _calls(message.get("tool_calls"), dialect, where)
    text, stopped = _until_stop(_text(message.get("content"), where), request.sampling.stop)
    reasoning = _text(message.get("reasoning_content") or message.get("reasoning"), where)
    return ChatReply(
        text=text,
        finish_reason=_finish(choice.get("finish_reason"), bool(calls or invalid), stopped, bool(invalid)),
        usage=_usage(body.get("usage")) or Usage(0, 0),
        # Some servers call an adapter by the name of its base.
        model=str(request.adapter or body.get("model") or model),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        reasoning=reasoning,
        logprobs=_logprobs(choice.get("logprobs"), request, where),
        refusal=_text(message.get("refusal"), where),
    )


def _first_choice(body: Any, where: str, private: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise unreadable(where, f"JSON of another kind ({type(body).__name__})")
    if body.get("error"):
        raise fault_in(body, where, private)
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise unreadable(where, "an answer without a choice")
    first: Mapping[str, Any] = choices[0]
    return first


def _text(content: Any, where: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, list):  # parts, as some servers give them
        texts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(text for text in texts if isinstance(text, str))
    raise unreadable(where, "content that is no text")


def _until_stop(text: str, stops: Sequence[str]) -> tuple[str, bool]:
    if not stops:
        return text, False
    finder = StopFinder(stops)
    found = finder.feed(text)
    return found + finder.flush(), finder.found


def _finish(reason: Any, has_calls: bool, stopped: bool, broken: bool = False) -> FinishReason:
    """Some servers say "length", or "stop", of calls that are whole; a call that is not ran out of tokens."""
    if has_calls and not (broken and reason in _LENGTH):
        return "tool_calls"
    return "length" if reason in _LENGTH and not stopped else "stop"


def _usage(usage: Any) -> Usage | None:
    if not isinstance(usage, Mapping):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read, written = (count if isinstance(count, int) and count >= 0 else 0 for count in counts)
    return Usage(read, written)


def _new_id() -> str:
    return f"call_{uuid.uuid4().hex[:24]}"


def _calls(
    found: Any, dialect: Dialect, where: str
) -> tuple[tuple[ToolCall, ...], tuple[InvalidToolCall, ...]]:
    if not found:
        return (), ()
    if not isinstance(found, list):
        found = [found]
    good: list[ToolCall] = []
    bad: list[InvalidToolCall] = []
    seen: set[str] = set()
    for call in found:
        function = call.get("function") if isinstance(call, Mapping) else None
        if not isinstance(function, Mapping):
            raise unreadable(where, "a call without a function")
        own = call.get("id")
        id = own if dialect.own_ids and isinstance(own, str) and own and own not in seen else _new_id()
        seen.add(id)
        name, written = function.get("name"), function.get("arguments")
        arguments, error = _arguments(written)
        if error or not isinstance(name, str) or not name:
            text = written if isinstance(written, str) else json.dumps(written, ensure_ascii=False)
            bad.append(
                InvalidToolCall(
                    text, error or "it names no tool", name if isinstance(name, str) else None, id
                )
            )
        else:
            good.append(ToolCall(name, arguments, id))
    return tuple(good), tuple(bad)


def _arguments(written: Any) -> tuple[dict[str, Any], str]:
    """What a call's arguments are, and why they are none."""
    if written is None or written == "":
        return {}, ""
    try:
        value = json.loads(written) if isinstance(written, str) else written
    except (ValueError, RecursionError) as error:
        return {}, f"the arguments are no JSON ({type(error).__name__})"
    if not isinstance(value, dict):
        return {}, f"the arguments are no JSON object, but {type(value).__name__}"
    return value, ""


def _logprobs(found: Any, request: ChatRequest, where: str) -> tuple[TokenLogprob, ...] | None:
    if (
        request.logprobs is None
        or not isinstance(found, Mapping)
        or not isinstance(found.get("content"), list)
    ):
        return None
    try:
        return tuple(
            TokenLogprob(*_pair(item), tuple(_pair(other) for other in item.get("top_logprobs") or ()))
            for item in found["content"]
        )
    except (AttributeError, TypeError, ValueError):
        raise unreadable(where, "log-probabilities of another form") from None


def _pair(item: Any) -> tuple[str, float]:
    return str(item.get("token") or ""), float(item.get("logprob") or 0.0)


class Assembler:
    """Puts the chunks of one stream together.

    Args:
        request: what was asked.
        dialect: of the server.
        where: the address, for messages.
        private: texts of the conversation.

    Attributes:
        ended: whether the last piece has been given out.
    """

    def __init__(
        self, request: ChatRequest, dialect: Dialect, where: str, private: Sequence[str] = ()
    ) -> None:
        self._request = request
        self._own_ids = dialect.own_ids
        self._where = where
        self._private = private
        self._stops = StopFinder(request.sampling.stop) if request.sampling.stop else None
        self._pieces: list[str] = []
        self._reason: Any = None
        self._usage: Usage | None = None
        self._ids: dict[int, str] = {}
        self._arguments: dict[int, list[str]] = {}
        self._named: set[int] = set()
        self._answered = False
        self.ended = False

    @property
    def text(self) -> str:
        """What has been given out so far."""
        return "".join(self._pieces)

    @property
    def stopped(self) -> bool:
        """Whether a stop string was met; nothing more will be given out."""
        return self._stops is not None and self._stops.found

    @property
    def over(self) -> bool:
        """Whether the server has said why it ended."""
        return self._reason is not None

    def feed(self, chunk: Any) -> ChatDelta | None:
        """What is new in a chunk, None where nothing is.

        Raises:
            GenerationError: when it is no chunk, or says what went wrong.
        """
        if not isinstance(chunk, dict):
            raise unreadable(self._where, "a piece that is no JSON object", self.text)
        if chunk.get("error"):
            raise self._with_text(fault_in(chunk, self._where, self._private))
        if chunk.get("usage"):
            self._usage = _usage(chunk["usage"])
        choices = chunk.get("choices")
        if not choices:
            return None if "token" not in chunk else self.feed(chat_chunk(chunk))
        try:
            choice = choices[0]
            delta = choice.get("delta") or choice.get("message") or {}
            reason = choice.get("finish_reason")
            content = delta.get("content")
            reasoning = delta.get("reasoning_content") or delta.get("reasoning") or ""
            calls = delta.get("tool_calls")
            refusal = delta.get("refusal") or ""
        except (AttributeError, KeyError, TypeError):
            raise unreadable(self._where, "a choice of another form", self.text) from None
        self._answered = True
        if reason is not None:
            self._reason = reason
        text = content if isinstance(content, str) else _text(content, self._where)
        if self._stops is not None:
            text = self._stops.feed(text) if text else ""
        if text:
            self._pieces.append(text)
        if not calls and not reasoning and not refusal and self._request.logprobs is None:
            return ChatDelta(text) if text else None
        found = ChatDelta(
            text,
            reasoning=_text(reasoning, self._where),
            tool_calls=self._call_pieces(calls) if calls else (),
            logprobs=_logprobs(choice.get("logprobs"), self._request, self._where),
            refusal=_text(refusal, self._where),
        )
        return found if text or reasoning or calls or refusal or found.logprobs else None

    def _call_pieces(self, calls: Any) -> tuple[ToolCallDelta, ...]:
        pieces = []
        for number, call in enumerate(calls if isinstance(calls, list) else [calls]):
            function = call.get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping):
                raise unreadable(self._where, "a call without a function", self.text)
            index = call.get("index")
            index = index if isinstance(index, int) else number
            name, arguments = function.get("name"), function.get("arguments") or ""
            if not isinstance(arguments, str):
                arguments = json.dumps(arguments, ensure_ascii=False)
            first = index not in self._ids
            if first:
                own = call.get("id")
                usable = self._own_ids and isinstance(own, str) and own and own not in self._ids.values()
                self._ids[index] = own if usable else _new_id()
            # Some servers repeat the name in every piece.
            name = name if isinstance(name, str) and name and index not in self._named else None
            if name:
                self._named.add(index)
            self._arguments.setdefault(index, []).append(arguments)
            pieces.append(ToolCallDelta(index, self._ids[index] if first else None, name, arguments))
        return tuple(pieces)

    def rest(self) -> str:
        """Text that was kept back because a stop string might have begun with it."""
        text = self._stops.flush() if self._stops is not None else ""
        if text:
            self._pieces.append(text)
        return text

    def end(self, marked: bool) -> ChatDelta:
        """The last piece.

        Args:
            marked: whether the server marked the end of the stream.

        Raises:
            GenerationError: when the stream has ended before the answer has.
        """
        if not self._answered:
            raise unreadable(self._where, "a stream without an answer")
        if not (self.over or marked or self.stopped):
            raise unreadable(self._where, "a stream that broke off", self.text)
        self.ended = True
        broken = any(_arguments("".join(pieces))[1] for pieces in self._arguments.values())
        reason = _finish(self._reason, bool(self._ids), self.stopped, broken)
        return ChatDelta("", reason, self._usage or Usage(0, 0))

    def _with_text(self, error: GenerationError) -> GenerationError:
        if hasattr(error, "text_so_far"):
            error.text_so_far = self.text
        return error
