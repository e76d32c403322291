"""What becomes of a scripted reply: cut where a model would have stopped, checked, and told in pieces."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference.calls import ToolCall, ToolCallDelta
from chatdoctor_hub.inference.text import StopFinder
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, FinishReason

__all__ = [
    "arguments_of",
    "check_kept",
    "cut",
    "length_of",
    "pieces_of",
    "stopped",
    "without_oldest",
]

_WORD = re.compile(r"\s*\S+|\s+\Z")
# Characters of a call's arguments that come at once in a stream.
_PIECE = 8


def cut(given: ChatReply, request: ChatRequest) -> tuple[list[str], FinishReason]:
    """The words of the text that are written, and why no more."""
    stops = StopFinder(request.sampling.stop)
    all_words = _WORD.findall(given.text)
    words: list[str] = []
    for word in all_words[: request.sampling.max_tokens]:
        words.append(word)
        stops.feed(word)
        if stops.found:
            return words, "stop"
    if len(words) < len(all_words):
        return words, "length"
    calls = given.tool_calls or given.invalid_tool_calls
    return words, "tool_calls" if calls and given.finish_reason != "length" else given.finish_reason


def stopped(words: Sequence[str], stop: tuple[str, ...]) -> str:
    """The text of these words before the first stop string."""
    stops = StopFinder(stop)
    said = [stops.feed(word) for word in words]
    return "".join(said) + stops.flush()


def check_kept(reply: ChatReply, request: ChatRequest) -> None:
    """A script that does not do what a request forces a model to do would prove nothing.

    Raises:
        GenerationError: naming what was asked for.
    """
    names = [call.name for call in reply.tool_calls]
    wanted = request.tool_choice
    forced = bool(request.tools) and wanted not in ("auto", "none")
    if (
        forced
        and not reply.invalid_tool_calls
        and (not names or (wanted != "required" and {*names} != {wanted}))
    ):
        asked = "a tool" if wanted == "required" else repr(wanted)
        raise GenerationError(
            f"Expected the scripted reply to call {asked}, as the request demands (tools: "
            f"{list(request.tool_names)}), found {names or 'a text'}; give a ToolCall."
        )
    if names and (not request.tools or wanted == "none"):
        raise GenerationError(
            f"Expected a text, as no tool may be called, found calls of {names}; give a text."
        )
    if request.response_schema is not None and reply.finish_reason != "length":
        try:
            json.loads(reply.text)
        except ValueError:
            raise GenerationError(
                "Expected the scripted reply to be JSON, as the request demands, found another text; give JSON."
            ) from None


def pieces_of(reply: ChatReply) -> Generator[ChatDelta, None, None]:
    """A whole reply as a stream has it, word by word."""
    for word in _WORD.findall(reply.reasoning):
        yield ChatDelta("", reasoning=word)
    probabilities = iter(reply.logprobs or ())
    for word in _WORD.findall(reply.text):
        found = next(probabilities, None)
        yield ChatDelta(word, logprobs=None if found is None else (found,))
    for piece in _call_pieces(reply):
        yield ChatDelta("", tool_calls=(piece,))
    for word in _WORD.findall(reply.refusal):
        yield ChatDelta("", refusal=word)
    left = tuple(probabilities)
    yield ChatDelta("", reply.finish_reason, reply.usage, logprobs=left or None)


def _call_pieces(reply: ChatReply) -> Iterator[ToolCallDelta]:
    calls = [(call.id, call.name, arguments_of(call)) for call in reply.tool_calls]
    broken = [(call.id, call.name, call.text) for call in reply.invalid_tool_calls]
    for index, (id, name, written) in enumerate([*calls, *broken]):
        yield ToolCallDelta(index, id, name)
        for start in range(0, len(written), _PIECE):
            yield ToolCallDelta(index, arguments=written[start : start + _PIECE])


def arguments_of(call: ToolCall) -> str:
    """The arguments of a call, as JSON."""
    return json.dumps(dict(call.arguments), ensure_ascii=False)


def length_of(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> int:
    """Words of the messages and of the tools."""
    said = sum(len(str(message["content"]).split()) for message in messages)
    return said + sum(len(json.dumps(tool).split()) for tool in tools)


def without_oldest(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """The conversation without its oldest turn of the patient and what followed it; as it is, if there is but one."""
    turns = [at for at, message in enumerate(messages) if message["role"] == "user"]
    return [*messages[: turns[0]], *messages[turns[1] :]] if len(turns) > 1 else list(messages)
