"""Calls that broke off in the middle of a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace

from langchain_core.utils.json import parse_partial_json

from chatdoctor_hub.inference.calls import ToolCallDelta
from chatdoctor_hub.inference.types import ChatDelta

__all__ = ["BrokenCalls"]

# What cannot be completed to an object any more, wherever in it the text broke off: within a string or outside, after
# a backslash or not, in a list or an object.
_SPOILERS = ("", "]", "}", '"]', '"}', '""]', '""}')


class BrokenCalls:
    """Sees to it that a call of a stream which broke off is not taken for a whole one.

    LangChain completes the JSON of calls when it adds up the pieces of a stream. So "find the dose of morphi", where
    the tokens ran out, would be a call to be carried out. A piece is added here which makes such a call an invalid
    one, as it is in an answer that comes in one piece.
    """

    def __init__(self) -> None:
        self._written: dict[int, str] = {}

    def marked(self, delta: ChatDelta) -> ChatDelta:
        """The piece of the answer; the last one has what spoils the calls that broke off."""
        if not delta.tool_calls and not self._written:
            return delta
        for piece in delta.tool_calls:
            self._written[piece.index] = self._written.get(piece.index, "") + piece.arguments
        if delta.finish_reason is None:
            return delta
        spoiling = tuple(self._spoiling())
        return replace(delta, tool_calls=(*delta.tool_calls, *spoiling)) if spoiling else delta

    def _spoiling(self) -> Iterator[ToolCallDelta]:
        for index, written in self._written.items():
            if written and not _is_object(written):
                spoiler = next(end for end in _SPOILERS if not _is_completed(written + end))
                if spoiler:
                    yield ToolCallDelta(index, arguments=spoiler)


def _is_object(written: str) -> bool:
    try:
        return isinstance(json.loads(written, strict=False), dict)
    except ValueError:
        return False


def _is_completed(written: str) -> bool:
    """Whether LangChain makes an object of it."""
    try:
        return isinstance(parse_partial_json(written), dict)
    except ValueError:
        return False
