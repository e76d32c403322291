"""An engine's answer to one chat, in one piece and in events, in the manner of TGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

from tgi_rules import Refused, invalid
from tgi_wording import chunk, completion, event, logprobs, tool_call, tool_pieces, usage, usage_chunk

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.inference import ChatDelta, ChatReply, ChatRequest, Engine


class Answering:
    """Answers one chat.

    Args:
        engine: answers.
        model: the id of what is served.
        request: the chat.
        stops: where to end; the string stays in the text.
        with_usage: whether a stream says how many tokens there were.
        most_read: how long a prompt may be, for the refusal of one that the engine finds too long.
    """

    def __init__(
        self,
        engine: Engine,
        model: str,
        request: ChatRequest,
        stops: tuple[str, ...],
        with_usage: bool = False,
        most_read: int = 0,
    ) -> None:
        self._engine, self._model, self._request = engine, model, request
        self._stops, self._with_usage, self._most_read = stops, with_usage, most_read
        self._uses_tools = bool(request.tools) and request.tool_choice != "none"

    async def reply(self) -> ChatReply:
        """What the engine answers."""
        try:
            return await self._engine.agenerate(self._request)
        except ContextLengthError:
            raise invalid(f"`inputs` must have less than {self._most_read} tokens. Given: 0") from None

    async def whole(self) -> dict[str, Any]:
        """The answer in one piece."""
        reply = await self.reply()
        counts = usage(reply.usage.input_tokens, reply.usage.output_tokens)
        reason = "length" if reply.finish_reason == "length" else "stop"
        if self._uses_tools and (call := _call_in(reply, self._request.tool_choice)):
            # Never "tool_calls", and never more than one.
            return completion(self._model, {"tool_calls": [tool_call(*call)]}, reason, counts)
        text, stopped = up_to(reply.text, self._stops)
        reason = "stop_sequence" if stopped else reason
        return completion(self._model, {"content": text}, reason, counts, logprobs(reply.logprobs))

    async def events(self) -> AsyncIterator[str]:
        """The answer as server-sent events."""
        if self._uses_tools:
            reply = await self.reply()
            call = _call_in(reply, self._request.tool_choice)
            deltas = tool_pieces(*call) if call else [{"content": reply.text}]
            for number, delta in enumerate(deltas):
                yield event(chunk(self._model, delta, "stop" if number == len(deltas) - 1 else None))
            counts = usage(reply.usage.input_tokens, reply.usage.output_tokens)
        else:
            counts = {}
            async for found in self._words():
                if isinstance(found, str):
                    yield found
                else:
                    counts = found
        if self._with_usage:
            yield event(usage_chunk(self._model, counts))
        yield "data: [DONE]\n\n"

    async def _words(self) -> AsyncIterator[str | dict[str, int]]:
        """The events of a plain answer, and its usage as the last; the last token has the reason."""
        text, written, held = "", 0, None
        reason, counts = "stop", usage(0, 0)
        async with aclosing(self._engine.astream(self._request)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                if delta.finish_reason is not None:
                    reason = "length" if delta.finish_reason == "length" else "stop"
                    counts = (
                        usage(delta.usage.input_tokens, delta.usage.output_tokens) if delta.usage else counts
                    )
                    break
                cut, stopped = up_to(text + delta.text, self._stops)
                new, text, written = cut[len(text) :], cut, written + 1
                if held is not None:
                    yield self._event_of(held)
                held = ChatDelta(new, logprobs=delta.logprobs)
                if stopped:
                    reason, counts = "stop_sequence", usage(0, written)
                    break
        yield self._event_of(held or ChatDelta(""), reason)
        yield counts

    def _event_of(self, delta: ChatDelta, reason: str | None = None) -> str:
        return event(chunk(self._model, {"content": delta.text}, reason, logprobs(delta.logprobs)))


async def token_events(tokens: list[Any], text: str, details: Any) -> AsyncIterator[str]:
    """The events of /generate_stream; the last one has the whole text and the details."""
    for number, token in enumerate(tokens):
        last = number == len(tokens) - 1
        yield event(
            {
                "index": number + 1,
                "token": token,
                "generated_text": text if last else None,
                "details": details if last else None,
            }
        )
        await asyncio.sleep(0)


def up_to(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The text up to the first stop string, which stays in it."""
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _call_in(reply: ChatReply, choice: str) -> tuple[str, Any] | None:
    """The one call in a reply: the engine's first, or the JSON that TGI's grammar makes a model write."""
    if reply.tool_calls:
        return reply.tool_calls[0].name, dict(reply.tool_calls[0].arguments)
    try:
        function = dict(json.loads(reply.text)["function"])
        name = function.pop("_name")
    except (ValueError, KeyError, TypeError):
        if choice == "auto":
            return None
        raise Refused(422, "Tool error: Failed to parse generated text", "tool_error") from None
    return None if name == "no_tool" else (name, function)
