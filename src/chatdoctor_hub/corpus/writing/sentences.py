"""Sentences of English and Chinese text, with the places where they stand."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Sentence", "chinese_share", "sentences"]

_ABBREVIATION = r"(?<!\be\.g)(?<!\bi\.e)(?<!\bDr)(?<!\bMr)(?<!\bMrs)(?<!\bvs)(?<!\bapprox)(?<!\betc)"
# A full stop ends a sentence before white space; glued to the next word it still does ("tests.Do you").
_END = re.compile(
    # Two question marks inside a sentence are what a lost character leaves ("It?? possible").
    r"(?<![?!])(?!(?<=\w)\?\?\s*[a-z])[!?]+[\"'”’)\]]*(?=\s|$|[A-Z(])|"
    rf"{_ABBREVIATION}\.+[\"'”’)\]]*(?=\s|$)|(?<=[a-z]{{2}})\.(?=[A-Z][a-z])"
    r"|[。！？；…]+[”’）】]*|[?!]+(?=[\u4e00-\u9fff])|(?<=[\u4e00-\u9fff])\.(?=\s|[\u4e00-\u9fff]|$)|\n+"
)
_HAN = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Sentence:
    """A sentence and where it stands: `text[start:end]`, without the white space around it."""

    text: str
    start: int
    end: int


def sentences(text: str) -> list[Sentence]:
    """The sentences of a text in order; together they hold all of it but white space.

    Args:
        text: English or Chinese; a line break ends a sentence as well.
    """
    found: list[Sentence] = []
    begun = 0
    for end in [*(match.end() for match in _END.finditer(text)), len(text)]:
        part = text[begun:end]
        words = part.strip()
        if words:
            start = begun + len(part) - len(part.lstrip())
            found.append(Sentence(words, start, start + len(words)))
        begun = end
    return found


def chinese_share(text: str) -> float:
    """The share of the letters that are Chinese characters, 0 to 1; 0 where there are no letters."""
    letters = sum(sign.isalpha() for sign in text)
    return len(_HAN.findall(text)) / letters if letters else 0.0
