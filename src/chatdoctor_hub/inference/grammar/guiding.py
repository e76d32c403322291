"""`Guide`: what keeps one answer to its grammar, and lets it come to an end in time."""

from __future__ import annotations

from chatdoctor_hub.inference.grammar.matching import Matcher

__all__ = ["Guide"]

_BEYOND = 512
_LATER = 8


class Guide:
    """The grammar of one answer while it is written.

    A model that does not know when to stop would run out of tokens in the middle of a string. So the guide
    looks ahead: from every place it knows a way to an end, and as soon as the token that was chosen would
    make that way longer than what is left, it takes the way. Ways are found by closing what is open, not by
    trying everything: for a string with an unusual pattern none may be found, and its answer can then end
    unfinished, as any answer that runs out of tokens.

    Args:
        matcher: at the beginning of the answer.
        budget: tokens that the answer may have.
        waits: whether the answer begins later (the model is thinking); nothing is restricted until `begin`.
        opening: the tokens to write where it still waits when the rest is only just enough.

    Attributes:
        hurried: the answer was brought to its end.
        least: tokens of the shortest whole answer that was found, or None where none was.
    """

    def __init__(
        self, matcher: Matcher, budget: int, *, waits: bool = False, opening: tuple[int, ...] = ()
    ) -> None:
        self.matcher = matcher
        self.hurried = False
        self.waits = waits
        self._opening = list(opening)
        # A little further than the budget, to be able to say what is needed.
        self._way = matcher.ending(budget + _BEYOND)
        self.least = None if self._way is None else len(self._way)
        # A token makes the way longer by about this much at most; so many tokens may pass unchecked.
        self._growth = len(self._way or ()) + 8
        self._unchecked = 0

    @property
    def restricts(self) -> bool:
        """Whether the next token must be one that the grammar allows."""
        return not self.waits

    @property
    def finished(self) -> bool:
        """Whether nothing can follow what is written."""
        return not self.waits and self.matcher.stopped

    @property
    def complete(self) -> bool:
        """Whether what is written is a whole answer."""
        return not self.waits and self.matcher.complete

    def begin(self) -> None:
        """The answer begins with the next token."""
        self.waits = False

    def settle(self, token: int, left: int) -> int:
        """The token to write: the one that was chosen, or one on the way to an end.

        Args:
            token: what was chosen.
            left: tokens that may be written, this one included.
        """
        if self.waits:
            return self._opened(token, left)
        if token in self.matcher.ends:
            return token
        if self._unchecked > 0:
            self._unchecked -= 1
            self._way = None
            return token
        if self._way and token == self._way[0]:
            self._way = self._way[1:]
            return token
        way = self.matcher.ending(left, first=token)
        if way is not None:
            self._unchecked = (left - len(way)) // self._growth
        else:
            way = self._way or self.matcher.ending(left)
            if not way:
                # No way is known from here; perhaps from further on.
                self._unchecked = _LATER
                return token
            self.hurried = True
        self._way = way[1:]
        return way[0]

    def _opened(self, token: int, left: int) -> int:
        """While it waits: the chosen token, until there is only just room for the opening and the way."""
        if self._opening and left <= len(self._opening) + (self.least or 0):
            self.hurried = True
            return self._opening.pop(0)
        return token
