"""Tools and a form of the answer in one request: giving the answer becomes one more tool.

Servers and grammars know one or the other: TGI calls them mutually exclusive. So what must have a form is asked
for as the arguments of a call, some call is required, and that call is turned back into text before anybody
sees it. LangChain's agents with a provider strategy ask so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, FinishReason

__all__ = ["FinalAnswer"]

_ASKED = "Give the final answer in this form, once no other tool is needed."


class FinalAnswer:
    """The tool that is the answer.

    Args:
        name: of the form.
        schema: what the answer must satisfy; of an object.
        taken: names of the other tools.

    Raises:
        ConfigError: when the form is not that of an object.
    """

    def __init__(self, name: str, schema: Mapping[str, Any], taken: frozenset[str]) -> None:
        if schema.get("type", "object") != "object":
            raise ConfigError(
                f"Expected the answer beside tools to be an object, found a schema of type {schema['type']!r}; "
                "put it into an object."
            )
        while name in taken:
            name = f"{name}_answer"
        self.name = name
        self._schema = {"type": "object", **schema}
        # The indexes of its calls in a stream, and whether there were others.
        self._indexes: set[int] = set()
        self._others = False

    @property
    def tool(self) -> dict[str, Any]:
        """The tool, as engines take it."""
        said = str(self._schema.get("description") or "")
        function = {
            "name": self.name,
            "description": f"{_ASKED} {said}".strip(),
            "parameters": self._schema,
        }
        return {"type": "function", "function": function}

    def in_reply(self, reply: ChatReply) -> ChatReply:
        """The reply with the answer as its text."""
        said = [
            json.dumps(call.arguments, ensure_ascii=False) for call in reply.tool_calls if self._is(call.name)
        ]
        said += [call.text for call in reply.invalid_tool_calls if self._is(call.name)]
        if not said:
            return reply
        calls = tuple(call for call in reply.tool_calls if not self._is(call.name))
        broken = tuple(call for call in reply.invalid_tool_calls if not self._is(call.name))
        return replace(
            reply,
            text=reply.text + said[0],
            tool_calls=calls,
            invalid_tool_calls=broken,
            finish_reason=self._reason(reply.finish_reason, bool(calls or broken)) or "stop",
        )

    def in_delta(self, delta: ChatDelta) -> ChatDelta:
        """A piece of a reply with the answer as its text; the pieces of one reply must be given in order."""
        if not delta.tool_calls and delta.finish_reason is None:
            return delta
        text, others = [delta.text], []
        for piece in delta.tool_calls:
            if self._is(piece.name) and not self._indexes:
                self._indexes.add(piece.index)
            if piece.index in self._indexes:
                text.append(piece.arguments)
            elif not self._is(piece.name):
                others.append(piece)
        self._others = self._others or bool(others)
        reason = self._reason(delta.finish_reason, self._others)
        return replace(delta, text="".join(text), tool_calls=tuple(others), finish_reason=reason)

    def _is(self, name: str | None) -> bool:
        return name == self.name

    def _reason(self, reason: FinishReason | None, others: bool) -> FinishReason | None:
        return "stop" if reason == "tool_calls" and not others else reason
