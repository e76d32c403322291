"""What must hold of the calls and results in a conversation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatdoctor_hub.errors import DataFormatError

__all__ = ["check_calls", "has_calls"]


def has_calls(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Whether tools were called in a conversation."""
    return any(message.get("role") == "tool" or message.get("tool_calls") for message in messages)


def check_calls(messages: Sequence[Mapping[str, Any]]) -> None:
    """Make sure that every result belongs to a call before it.

    Raises:
        DataFormatError: for a call without a name, or a result without its call; numbers count from 0.
    """
    made: set[Any] = set()
    for number, message in enumerate(messages):
        for call in message.get("tool_calls") or ():
            function = call.get("function") if isinstance(call, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                raise DataFormatError(
                    f"Expected the calls of message {number} to have function.name, found one that has none; "
                    'use {"id": …, "type": "function", "function": {"name": …, "arguments": …}}.'
                )
            made.add(call.get("id"))
        if message.get("role") == "tool" and message.get("tool_call_id") not in made:
            raise DataFormatError(
                f"Expected the result in message {number} to belong to a call of an assistant's message before "
                "it, found no call of that id; put the message with tool_calls before it."
            )
