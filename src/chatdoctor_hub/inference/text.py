"""From tokens to the text a reader sees: whole characters only, and nothing from a stop string on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

__all__ = ["Detokenizer", "StopFinder"]

_UNFINISHED = "\ufffd"


class Detokenizer:
    """Turns tokens into text one by one.

    A token's text can depend on the tokens before it (a leading space, the bytes of one character over
    several tokens), so a short window of tokens is decoded twice, without and with the new ones, and the
    difference is what is new. Text that ends within a character is kept back until the rest has come.

    Args:
        decode: turns token ids into text, special tokens left out and spaces as they are.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []
        self._start = 0  # the window's first token
        self._read = 0  # tokens before this one have been given out
        self._given = ""  # the window's text that has been given out

    def push(self, token: int) -> str:
        """Add a token; returns the text that became certain, often a word, sometimes nothing."""
        self._ids.append(token)
        text = self._decode(self._ids[self._start :])
        if text.endswith(_UNFINISHED) or len(text) <= len(self._given):
            return ""
        return self._give(text)

    def hold(self, token: int) -> None:
        """Add a token whose text is not needed before `flush`."""
        self._ids.append(token)

    def flush(self) -> str:
        """The rest; bytes that never became a character are given as U+FFFD."""
        if self._read == len(self._ids):
            return ""
        return self._give(self._decode(self._ids[self._start :]))

    def _give(self, text: str) -> str:
        new = text[len(self._given) :]
        # The next window starts with the tokens just given out: they are the context of what follows.
        self._start, self._read = self._read, len(self._ids)
        self._given = self._decode(self._ids[self._start :])
        return new


class StopFinder:
    """Ends a text before the first stop string, however the text is cut into pieces.

    What could be the beginning of a stop string is kept back until it is known not to be one. Of several
    stop strings the one that is complete first counts.

    Args:
        stops: strings that are not empty.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """Add text; returns what may be shown of it. After a stop string, nothing more is."""
        if self.found or not self._stops:
            return "" if self.found else piece
        text = self._held + piece
        hits = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if hits:
            self.found, self._held = True, ""
            return text[: min(hits)[1]]
        keep = max((_overlap(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def flush(self) -> str:
        """What was kept back, once nothing more comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that is a beginning of `stop`, but not all of it."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0
