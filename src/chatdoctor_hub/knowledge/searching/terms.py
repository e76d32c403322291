"""What a search compares: the terms of an entry of a row, and those of a question.

A term is text. A word is its stem alone ("pain"); a pair is two stems in the order of the alphabet
("chest pain"); a whole symptom or a whole name is all its stems with a mark before them ("=chest pain",
"#gout"); a word of the cause text has a mark of its own ("~virus"). Stems hold none of the marks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import combinations

from chatdoctor_hub.knowledge.searching.words import stems

__all__ = ["CAUSE", "NAME", "SYMPTOM", "entry_terms", "near_pairs", "pair", "whole"]

SYMPTOM = "="
"""Before the stems of a whole symptom."""

NAME = "#"
"""Before the stems of a whole name."""

CAUSE = "~"
"""Before a stem of the cause text."""

_MAX_ENTRY = 400  # characters that are read of a name or a symptom
_MAX_PAIRED = 24  # stems of one that are paired: no cell makes pairs without bound


def entry_terms(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The words of a name or a symptom, repetitions kept, and its pairs, each once."""
    return _entry_terms(text[:_MAX_ENTRY])


@lru_cache(maxsize=16_384)
def _entry_terms(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    words = tuple(stems(text))
    distinct = sorted(set(words[:_MAX_PAIRED]))
    return words, tuple(f"{first} {second}" for first, second in combinations(distinct, 2))


def pair(first: str, second: str) -> str:
    """The term of two different words."""
    return f"{first} {second}" if first < second else f"{second} {first}"


def whole(mark: str, words: Iterable[str]) -> str:
    """The term of a whole name or symptom of these words."""
    return mark + " ".join(sorted(set(words)))


def near_pairs(words: Sequence[str], window: int) -> Iterator[tuple[str, str]]:
    """Every two different words less than `window` words apart, each two in the order of the alphabet."""
    for start, first in enumerate(words):
        for second in words[start + 1 : start + window]:
            if first != second:
                yield (first, second) if first < second else (second, first)
