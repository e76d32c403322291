"""`TemplateReader`: an answer read by the response template that a tokenizer brings along."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chatdoctor_hub.inference.calls import InvalidToolCall, ToolCall, ToolCallDelta
from chatdoctor_hub.inference.tools.reading import Piece

__all__ = ["TemplateReader"]

_REASONING = ("reasoning_content", "thinking", "reasoning")


class TemplateReader:
    """Does what `tokenizer.parse_response` does, piece by piece, with the readers that transformers has.

    Args:
        tokenizer: one with a `response_template`.
        prompt: the text that the answer continues.
        tools: what may be called; where there are none, calls are given as text.
        id_of: an id for the call of a number.

    Attributes:
        calls: those read so far.
        invalid: what stood in the place of a call and is none.
    """

    def __init__(
        self,
        tokenizer: Any,
        prompt: str,
        tools: Sequence[Mapping[str, Any]] = (),
        id_of: Callable[[int], str] = str,
    ) -> None:
        self.calls: list[ToolCall] = []
        self.invalid: list[InvalidToolCall] = []
        self._id_of, self._calls_tools = id_of, bool(tools)
        self._parser = tokenizer.get_response_parser(
            prefix=prompt, tools=[dict(tool) for tool in tools] or None
        )
        self._region = ""
        self._raw = ""  # of the call that is being written
        self._broken = False
        for event in self._parser.initial_events:
            self._enter(event)

    @property
    def thinks(self) -> bool:
        """Whether the answer itself has not begun."""
        return self._region in _REASONING

    def push(self, text: str) -> Piece:
        """Read on."""
        return self._read(lambda: self._parser.feed(text), text)

    def finish(self) -> Piece:
        """The rest, once nothing more comes."""
        piece = self._read(lambda: self._parser.finalize()[1], "")
        if self._broken:
            error = "expected a call as the response template has it, found text that is none"
            call = InvalidToolCall(self._raw, error, None, self._id_of(self._count))
            piece += Piece(tool_calls=(ToolCallDelta(self._count, call.id, None, self._raw),))
            self.invalid.append(call)
        return piece

    @property
    def _count(self) -> int:
        return len(self.calls) + len(self.invalid)

    def _read(self, step: Callable[[], list[dict[str, Any]]], text: str) -> Piece:
        if self._broken:
            self._raw += text
            return Piece()
        piece = Piece()
        try:
            events = step()
        except ValueError:
            # What the parser has read of this call it does not tell; it is what is not given out yet.
            self._broken = True
            self._raw += text
            return piece
        for event in events:
            piece += self._piece(event)
            self._enter(event)
        return piece

    def _enter(self, event: Mapping[str, Any]) -> None:
        if event["type"] == "region_open":
            self._region, self._raw = event["field"], ""
        elif event["type"] == "region_close":
            self._region = ""

    def _piece(self, event: Mapping[str, Any]) -> Piece:
        called = event["field"] == "tool_calls"
        if event["type"] == "region_chunk":
            if called:
                self._raw += event["text"]
                return Piece() if self._calls_tools else Piece(event["text"])
            if event["field"] in _REASONING:
                return Piece(reasoning=event["text"])
            return Piece(event["text"]) if event["field"] == "content" else Piece()
        if event["type"] != "region_close" or not called or not self._calls_tools:
            return Piece()
        values = event["value"] if isinstance(event["value"], list) else [event["value"]]
        return sum((self._call(value) for value in values), Piece())

    def _call(self, value: Any) -> Piece:
        index, id = self._count, self._id_of(self._count)
        function = value.get("function") if isinstance(value, Mapping) else None
        name = function.get("name") if isinstance(function, Mapping) else None
        arguments = function.get("arguments") if isinstance(function, Mapping) else None
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments, strict=False)
            except ValueError:
                arguments = None
        if not isinstance(name, str) or not isinstance(arguments, Mapping):
            error = "expected a name and arguments as a JSON object, found none"
            self.invalid.append(
                InvalidToolCall(self._raw, error, name if isinstance(name, str) else None, id)
            )
            return Piece(tool_calls=(ToolCallDelta(index, id, self.invalid[-1].name, self._raw),))
        self.calls.append(ToolCall(name, dict(arguments), id))
        written = json.dumps(dict(arguments), ensure_ascii=False)
        return Piece(tool_calls=(ToolCallDelta(index, id, name, written),))
