"""From a patient's words to the stems that a search looks for: denials out, turns of phrase understood.

English, and no spelling errors are mended. The order of the steps: plain text, words that are denied taken
out (`negation`), what the sayings of the lexicon mean added at the end, stems (`words`).
"""

from __future__ import annotations

import re
from functools import lru_cache

from chatdoctor_hub.knowledge.searching.lexicon import read_lexicon
from chatdoctor_hub.knowledge.searching.negation import affirmed
from chatdoctor_hub.knowledge.searching.words import plain, stems_of

__all__ = ["MAX_QUESTION", "question_clauses", "question_stems"]

MAX_QUESTION = 10_000
"""Characters that are read of a question."""

GAP = ("", "", "")
"""Stands between parts of a question of which no two words make a pair."""

_TOKEN = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[.,;:?!]|\n+")


def question_stems(text: str) -> list[str]:
    """The stems of a patient's words, and after a gap each what a turn of phrase among them means."""
    words = affirmed(_tokens(text), read_lexicon().not_denied)
    found = stems_of(" ".join(words))
    for meaning in read_lexicon().meanings(words):
        found += GAP
        found += _stems_of_meaning(meaning)
    return found


def question_clauses(text: str) -> list[str]:
    """The clauses of a patient's words, denied ones left out, in the order of the text."""
    clauses: list[list[str]] = [[]]
    for word in affirmed(_tokens(text), read_lexicon().not_denied):
        if word in ".,;:?!" or word in ("and", "but", "or", "also", "because", "while", "when"):
            clauses.append([])
        else:
            clauses[-1].append(word)
    return [" ".join(clause) for clause in clauses if clause]


def _tokens(text: str) -> list[str]:
    return [token if token[0] != "\n" else "." for token in _TOKEN.findall(plain(text[:MAX_QUESTION]))]


@lru_cache(maxsize=1_024)
def _stems_of_meaning(meaning: str) -> tuple[str, ...]:
    return tuple(stems_of(meaning))
