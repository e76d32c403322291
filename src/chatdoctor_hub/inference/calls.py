"""What a model wants called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["InvalidToolCall", "ToolCall", "ToolCallDelta"]


@dataclass(frozen=True)
class ToolCall:
    """A call that the model wants made.

    Args:
        name: of the tool.
        arguments: what it is to be called with.
        id: unlike that of every other call of the answer.
    """

    name: str
    arguments: Mapping[str, Any]
    id: str


@dataclass(frozen=True)
class InvalidToolCall:
    """What the model wrote in the place of a call and cannot be read as one.

    Args:
        text: what it wrote.
        error: why it is none.
        name: of the tool, where that much can be read.
        id: unlike that of every other call of the answer.
    """

    text: str
    error: str
    name: str | None = None
    id: str | None = None


@dataclass(frozen=True)
class ToolCallDelta:
    """A piece of a call; pieces with the same index, joined, are the call.

    Args:
        index: which call of the answer.
        id: in its first piece.
        name: in its first piece.
        arguments: the next characters of the arguments, as JSON.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
