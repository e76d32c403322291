"""Merging a system text into Hub messages: once, in front, whatever the caller already sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["fold_system", "gap_between", "longest_first", "merge_system", "text_of"]

SYSTEM_ROLES = ("system", "developer")


def text_of(content: Any) -> str:
    """The words of a message's content: a string, or a list of parts of which the text parts count."""
    parts = [content] if isinstance(content, str) else content if isinstance(content, Sequence) else []
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    return "\n\n".join(text.strip() for text in texts if isinstance(text, str) and text.strip())


def longest_first(texts: Sequence[str]) -> list[str]:
    """Those that are not empty; whatever is part of another comes after it."""
    return sorted((text for text in texts if text), key=len, reverse=True)


def gap_between(texts: Sequence[str]) -> str:
    """What to put in the place of a text that is dropped: more line breaks than stand together in any text.

    So what is before and what is after it cannot make up another copy.
    """
    return "\n" * max(3, *(len(run) + 1 for text in texts for run in re.findall(r"\n+", text)), 0)


def merge_system(
    messages: Sequence[Mapping[str, Any]], text: str, known: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """Put `text` in front of the caller's own system words.

    All leading system messages become one. Wherever a system message already holds `text`, or one of the
    `known` texts, that copy is dropped, so merging twice changes nothing.

    Args:
        messages: in the Hub's format; not changed.
        text: what must come first; "" only merges the caller's.
        known: other texts that `text` stands for.

    Returns:
        New messages; the first is the system message unless there is nothing to say in it.
    """
    pieces = longest_first((text, *known))
    gap = gap_between(pieces)

    def own_words(words: str) -> str:
        for piece in pieces:
            words = words.replace(piece, gap)
        return words.strip()

    lead = 0
    while lead < len(messages) and messages[lead].get("role") in SYSTEM_ROLES:
        lead += 1
    said = [text_of(message.get("content")) for message in messages[:lead]]
    merged = "\n\n".join(part for part in (text, own_words("\n\n".join(filter(None, said)))) if part)
    result: list[dict[str, Any]] = [{"role": "system", "content": merged}] if merged else []
    for message in messages[lead:]:
        if message.get("role") not in SYSTEM_ROLES:
            result.append(dict(message))
        elif words := own_words(text_of(message.get("content"))):
            result.append({"role": "system", "content": words})
    return result


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
