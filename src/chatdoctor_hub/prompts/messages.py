"""Merging a system text into Hub messages: once, in front, whatever the caller already sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["fold_system", "merge_system", "text_of"]

SYSTEM_ROLES = ("system", "developer")


def text_of(content: Any) -> str:
    """The words of a message's content: a string, or a list of parts of which the text parts count."""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part if isinstance(part, str) else str(part.get("text", "")) for part in content]
        return "\n\n".join(part for part in parts if part)
    return ""


def merge_system(
    messages: Sequence[Mapping[str, Any]], text: str, known: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Put `text` in front of the caller's own system words.

    All leading system messages become one. Wherever the caller already sent `text`, or one of the
    `known` texts, that copy is dropped, so merging twice changes nothing.

    Args:
        messages: in the Hub's format; not changed.
        text: what must come first; "" only merges the caller's.
        known: other texts that `text` stands for.

    Returns:
        New messages; the first is the system message unless there is nothing to say in it.
    """
    lead = 0
    while lead < len(messages) and messages[lead].get("role") in SYSTEM_ROLES:
        lead += 1
    caller = "\n\n".join(text_of(message.get("content")).strip() for message in messages[:lead])
    for piece in (text, *known):
        if piece:
            caller = caller.replace(piece, "").strip()
    merged = "\n\n".join(part for part in (text, caller) if part)
    rest = [dict(message) for message in messages[lead:]]
    return [{"role": "system", "content": merged}, *rest] if merged else rest


def fold_system(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Move a leading system message into the first user turn, for templates that have no system role."""
    if not messages or messages[0].get("role") not in SYSTEM_ROLES:
        return [dict(message) for message in messages]
    system = text_of(messages[0].get("content"))
    rest = [dict(message) for message in messages[1:]]
    if not rest or rest[0].get("role") != "user":
        return [{"role": "user", "content": system}, *rest]
    content = rest[0].get("content")
    if isinstance(content, str):
        rest[0]["content"] = f"{system}\n\n{content}"
    else:
        rest[0]["content"] = [{"type": "text", "text": f"{system}\n\n"}, *(content or [])]
    return rest
