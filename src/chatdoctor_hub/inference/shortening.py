"""Dropping the oldest turns of a conversation that does not fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["without_oldest_turn"]

_SYSTEM_ROLES = ("system", "developer")


def without_oldest_turn(messages: Sequence[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...] | None:
    """The conversation without its oldest turn: what the patient said and all that followed until they spoke again.

    System messages stay, and so does the newest turn: None where there is no other.
    """
    starts = [number for number, message in enumerate(messages) if message.get("role") == "user"]
    spoken = [number for number, message in enumerate(messages) if message.get("role") not in _SYSTEM_ROLES]
    if not starts or not spoken:
        return None
    # What a doctor says before the patient does is a turn of its own.
    following = [start for start in starts if start > spoken[0]]
    if not following:
        return None
    return tuple(
        message
        for number, message in enumerate(messages)
        if number >= following[0] or message.get("role") in _SYSTEM_ROLES
    )
