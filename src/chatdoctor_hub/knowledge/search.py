"""Lexical search over a disease table: BM25 on names and symptoms.

Okapi BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.2) with
weighted fields, on the stems of `words`. Beside single stems, pairs of stems that stand in the same name
or symptom count at half weight when they stand close together in the question as well: "pain in my
chest" is more than "chest" here and "pain" there. The cause text is left out, because it makes results
worse. A word that no row has adds nothing; a row that shares no word is no hit.
"""

from __future__ import annotations

import heapq
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge.disease import Disease
from chatdoctor_hub.knowledge.words import question_stems, stems

__all__ = ["Hit", "SearchIndex"]

_NAME_WEIGHT = 2.0
_SYMPTOM_WEIGHT = 1.0
_PAIR_WEIGHT = 0.5
_WINDOW = 3  # stems between which a pair is sought in the question
_K1 = 0.8
_B = 0.75
_MAX_QUESTION = 10_000  # characters that are read of a question
_MAX_MATCHED = 6

_Term = str | tuple[str, str]


@dataclass(frozen=True)
class Hit:
    """A disease that fits a question.

    Args:
        disease: the row.
        score: BM25, above 0; comparable within one question only.
        matched: the row's own names and symptoms that account for the match, the weightiest first; they
            never hold the words of the question.
    """

    disease: Disease
    score: float
    matched: tuple[str, ...]


class SearchIndex:
    """Postings over the rows of a table, with every weight that does not depend on the question.

    Args:
        diseases: the rows; rows of one name compete, and only the best of them becomes a hit.
    """

    def __init__(self, diseases: Sequence[Disease]) -> None:
        self._diseases = diseases
        self._entries = [
            [(weight, text, tuple(_terms(stems(text), len(text)))) for weight, text in _texts(disease)]
            for disease in diseases
        ]
        counts: defaultdict[_Term, defaultdict[int, float]] = defaultdict(lambda: defaultdict(float))
        lengths = [0.0] * len(diseases)
        for row, entries in enumerate(self._entries):
            for weight, _, terms in entries:
                for term in terms:
                    counts[term][row] += weight
                lengths[row] += weight * sum(isinstance(term, str) for term in terms)
        mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
        norms = [_K1 * (1 - _B + _B * length / mean) for length in lengths]
        self._postings = {term: _weigh(term, rows, norms) for term, rows in counts.items()}

    def search(self, text: str, k: int) -> list[Hit]:
        """The k best rows for the text, best first; of its length 10,000 characters are read.

        Raises:
            ConfigError: when k is below 1.
        """
        if k < 1:
            raise ConfigError(
                f"Expected k, the number of hits wanted, to be at least 1, found {k}; raise it."
            )
        # Sorted, because a sum of floats depends on its order.
        asked = sorted(set(_terms(question_stems(text[:_MAX_QUESTION]), _WINDOW)), key=str)
        terms = [term for term in asked if term in self._postings]
        scores: defaultdict[int, float] = defaultdict(float)
        for term in terms:
            for row, weight in self._postings[term].items():
                scores[row] += weight
        best: dict[str, tuple[float, int]] = {}  # by name; rows of equal score in the table's order
        for row, score in scores.items():
            name = self._diseases[row].name.casefold()
            best[name] = min(best.get(name, (0.0, row)), (-score, row))
        return [
            Hit(self._diseases[row], -score, self._matched(row, terms))
            for score, row in heapq.nsmallest(k, best.values())
        ]

    def _matched(self, row: int, terms: Sequence[_Term]) -> tuple[str, ...]:
        """The fewest entries of the row, greedily, that hold all its terms of the question."""
        left = {term: self._postings[term][row] for term in terms if row in self._postings[term]}
        matched: list[str] = []
        while left and len(matched) < _MAX_MATCHED:
            gains = [sum(left.get(term, 0.0) for term in set(held)) for _, _, held in self._entries[row]]
            _, text, held = self._entries[row][gains.index(max(gains))]
            matched.append(text)
            for term in held:
                left.pop(term, None)
        return tuple(matched)


def _weigh(term: _Term, rows: Mapping[int, float], norms: Sequence[float]) -> dict[int, float]:
    """What the term adds to the score of each row that has it."""
    rarity = math.log(1 + (len(norms) - len(rows) + 0.5) / (len(rows) + 0.5))
    if not isinstance(term, str):
        rarity *= _PAIR_WEIGHT
    return {row: rarity * count * (_K1 + 1) / (count + norms[row]) for row, count in rows.items()}


def _texts(disease: Disease) -> Iterator[tuple[float, str]]:
    yield _NAME_WEIGHT, disease.name
    for symptom in (*disease.symptoms, *disease.lay_symptoms):
        yield _SYMPTOM_WEIGHT, symptom


def _terms(words: Sequence[str], window: int) -> Iterator[_Term]:
    """The words, and every pair of different ones that are less than `window` words apart, in either order."""
    yield from words
    pairs: set[tuple[str, str]] = set()
    for start, first in enumerate(words):
        for second in words[start + 1 : start + window]:
            if first != second:
                pairs.add((first, second) if first < second else (second, first))
    yield from pairs
