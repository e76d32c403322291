"""`Fence`: text that others wrote, set apart in a prompt so that none of it is read as an instruction.

It stands between two lines with a random number that nobody who wrote the text can know. Within, each piece is
one line, and nothing in it can open or close a turn of a chat template: an angle bracket is followed by a space
("< |im_end|>"), square brackets are round (they are kept for citations), and runs of signs that draw a line or
a heading, and the words of the two lines, are broken. So no piece can end the data, begin another turn, or carry
another piece's citation. The engines break their own tokenizer's control tokens once more; a server that is
reached by URL may not.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Fence", "harmless"]

_OPENER = re.compile(r"([<\uff1c\ufe64])(?=\S)")
_RULE = re.compile(r"([-=*~_`])\1{2,}")
_OWN = re.compile(r"\b(begin|end) +(?=data\b)", re.IGNORECASE)
_HEADING = re.compile(r"(?<=#)(?=#)")
_ROUND = str.maketrans(
    {**dict.fromkeys("[\uff3b\u3010\u3014\u27e6", "("), **dict.fromkeys("]\uff3d\u3011\u3015\u27e7", ")")}
)
# The format characters that some scripts and emoji cannot do without.
_JOINERS = "\u200c\u200d"


@dataclass(frozen=True)
class Fence:
    """The two lines around data.

    Args:
        number: 32 random hexadecimal digits, made for one prompt.
    """

    number: str

    @classmethod
    def away_from(cls, texts: Iterable[str]) -> Fence:
        """A fence whose number stands in none of the texts."""
        whole = "\n".join(texts)
        while (number := secrets.token_hex(16)) in whole:
            pass
        return cls(number)

    @property
    def begin(self) -> str:
        """The line before the data."""
        return f"-----BEGIN DATA {self.number}-----"

    @property
    def end(self) -> str:
        """The line after the data."""
        return f"-----END DATA {self.number}-----"

    def around(self, pieces: Sequence[tuple[str, str]]) -> str:
        """The pieces between the lines.

        Args:
            pieces: a label of ours and a text of others each.
        """
        lines = [f"{label} {harmless(text)}".strip() for label, text in pieces]
        return "\n".join([self.begin, *lines, self.end])


def harmless(text: str) -> str:
    """The text as one line that no chat template and no fence takes for a mark of its own."""
    seen = "".join(char if _is_visible(char) else " " if char.isspace() else "" for char in text)
    line = _OPENER.sub(r"\1 ", " ".join(seen.split()).translate(_ROUND))
    return _OWN.sub(r"\1-", _HEADING.sub(" ", _RULE.sub(r"\1", line)))


def _is_visible(char: str) -> bool:
    """Neither a control or format character nor half a character nor of private meaning."""
    return (
        char in _JOINERS
        or char == " "
        or unicodedata.category(char) not in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
    )
