"""`View`: a text as the rules of de-identification look at it, and `Rule`, what they have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

__all__ = ["HAN", "Rule", "Span", "View", "has_any", "has_digit"]

Span = tuple[int, int]
"""Start and end of a place in a text, in characters."""

HAN = "㐀-䶿一-鿿"
"""Chinese characters, for use inside the brackets of a pattern."""

_NOT_LATIN = re.compile(r"[\u1100-\u11ff\u2e80-\ufaff\uff00-\uffef\U00020000-\U0003ffff]")
_DIGIT = re.compile(r"[0-9]")
# One character each, so that places stay where they are: full-width forms, spaces, quotes, dashes, and the
# letters that are equal to ASCII ones when case is ignored.
_PLAIN = (
    {0xFF01 + i: chr(0x21 + i) for i in range(94)}
    | dict.fromkeys(range(0x2000, 0x200B), " ")
    | dict.fromkeys(map(ord, "\u00a0\u1680\u202f\u205f\u3000"), " ")
    | dict.fromkeys(map(ord, "\u2018\u2019\u02bc\u2032"), "'")
    | dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
    | {0x0130: "I", 0x0131: "i", 0x017F: "s", 0x212A: "K"}
)  # fmt: skip


class View:
    """A text with odd forms of characters made plain, place by place; parts are worked out when asked for."""

    def __init__(self, text: str) -> None:
        self.is_ascii = text.isascii()
        self.text = text if self.is_ascii else text.translate(_PLAIN)

    @cached_property
    def folded(self) -> str:
        """For `in` tests alone: places may differ."""
        return self.text.casefold()

    @cached_property
    def digits(self) -> bool:
        """Whether there is a digit 0-9."""
        return _DIGIT.search(self.text) is not None

    @cached_property
    def latin(self) -> str:
        """With spaces for Chinese, Japanese and Korean characters, which would count as letters of a word."""
        return self.text if self.is_ascii else _NOT_LATIN.sub(" ", self.text)


@dataclass(frozen=True)
class Rule:
    """How one kind is found.

    Args:
        kind: an id of `KINDS`.
        may_match: a cheap test that is true wherever `find` finds something.
        find: the places; they may overlap.
    """

    kind: str
    may_match: Callable[[View], bool]
    find: Callable[[View], Iterator[Span]]


def has_any(*words: str, digits: bool = False) -> Callable[[View], bool]:
    """A test for any of these words (lower case), and for a digit where asked."""

    def test(view: View) -> bool:
        if digits and not view.digits:
            return False
        folded = view.folded
        return any(word in folded for word in words)

    return test


def has_digit(view: View) -> bool:
    """A test for a digit."""
    return view.digits
