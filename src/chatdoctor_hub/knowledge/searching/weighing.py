"""What each term adds to the score of each row: all of a search that does not depend on the question.

The score of a row is a sum, and every part of it is a whole number of 1/2048:

    words   Okapi BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009, section 3.2)
            over name and symptoms, k1 = 0.4, b = 0.75
    pairs   the same at half weight, for two words of one name or symptom that stand close together in the
            question as well: "pain in my chest" is more than "chest" here and "pain" there
    whole   rarity at half weight for a symptom, and the sum of its words' rarities at 0.4 for a name, when
            all its words stand close together in the question: a fever is not scarlet fever
    cause   rarity x count / (count + 1) at 0.2 for words of the cause text; they order rows that a name or a
            symptom has found, and find none

Rarity is ln(1 + (N - n + 0.5) / (n + 0.5)) for n of N rows. The weights were chosen on one half of the queries
that `bench/search.py` describes, which also measures them on the other. Whole numbers make sums exact in any
order, so a search may stop early and still give the very ranking of one that reads everything.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from chatdoctor_hub.knowledge.disease import Disease
from chatdoctor_hub.knowledge.searching.terms import CAUSE, NAME, SYMPTOM, entry_terms, whole
from chatdoctor_hub.knowledge.searching.words import stems

__all__ = ["SCALE", "Posting", "Weights"]

SCALE = 2048
"""Parts of 1 in which weights are whole numbers."""

_K1 = 0.4
_B = 0.75
_PAIR = 0.5
_WHOLE_SYMPTOM = 0.5
_WHOLE_NAME = 0.4
_CAUSE = 0.2
_MAX_CAUSE = 4_000  # characters of a cause that are read
_MOST = 65_535  # fits two bytes; only a table of millions of rows has a weight of 32


class Posting:
    """The rows that have a term, ascending (numbers from 0), what it adds to each, and the most it adds.

    `rows` holds unsigned 32-bit, `weights` unsigned 16-bit numbers, in units of 1 / `SCALE`.
    """

    __slots__ = ("levels", "rows", "top", "weights")

    def __init__(self, rows: array[int], weights: array[int], top: int) -> None:
        self.rows = rows
        self.weights = weights
        self.top = top
        self.levels: tuple[tuple[int, int], ...] = ()  # filled by `bounds` when first needed

    def weight(self, row: int) -> int:
        """What the term adds to this row; 0 where the row has it not."""
        at = bisect_left(self.rows, row)
        return self.weights[at] if at < len(self.rows) and self.rows[at] == row else 0


class Weights:
    """The postings of a table, each made when it is asked for.

    Args:
        diseases: the rows.
    """

    def __init__(self, diseases: Iterable[Disease]) -> None:
        self._rows: dict[str, array[int]] = {}
        self._counts: dict[str, array[int]] = {}
        lengths = array("I", (self._count(row, disease) for row, disease in enumerate(diseases)))
        mean = sum(lengths) / len(lengths) or 1.0
        self._norms = [_K1 * (1 - _B + _B * length / mean) for length in lengths]
        self._made: dict[str, Posting] = {}

    def find(self, terms: Iterable[str]) -> dict[str, Posting]:
        """The postings of those of the terms that the table has; they are kept."""
        made = self._made
        for term in (found := [term for term in terms if term in self._rows]):
            if term not in made:
                made[term] = self._posting(term)
        return {term: made[term] for term in found}

    def __iter__(self) -> Iterator[tuple[str, Posting]]:
        """Every term with its posting, in the order of first appearance; none is kept."""
        for term in self._rows:
            yield term, self._posting(term)

    def _count(self, row: int, disease: Disease) -> int:
        """Count the terms of a row; returns how many words its name and symptoms have."""
        name = entry_terms(disease.name)
        symptoms = [entry_terms(text) for text in (*disease.symptoms, *disease.lay_symptoms)]
        words = [word for held, _ in (name, *symptoms) for word in held]
        terms = words + [term for _, held in (name, *symptoms) for term in held]
        terms += {whole(SYMPTOM, held) for held, _ in symptoms if held}
        if name[0]:
            terms.append(whole(NAME, name[0]))
        terms += [CAUSE + word for word in stems(disease.cause[:_MAX_CAUSE])]
        all_rows, all_counts = self._rows, self._counts
        for term, count in Counter(terms).items():
            if term in all_rows:
                all_rows[term].append(row)
                all_counts[term].append(count)
            else:
                all_rows[term] = array("I", (row,))
                all_counts[term] = array("I", (count,))
        return len(words)

    def _posting(self, term: str) -> Posting:
        rows = self._rows[term]
        rarity = self._rarity(term)
        if term[0] == SYMPTOM:
            return _flat(rows, _WHOLE_SYMPTOM * rarity)
        if term[0] == NAME:
            return _flat(rows, _WHOLE_NAME * sum(map(self._rarity, term[1:].split(" "))))
        counts = self._counts[term]
        if term[0] == CAUSE:
            return _weighed(rows, [_CAUSE * rarity * count / (count + 1) for count in counts])
        rarity *= (_K1 + 1) * (_PAIR if " " in term else 1)
        norms = self._norms
        return _weighed(
            rows, [rarity * count / (count + norms[row]) for row, count in zip(rows, counts, strict=True)]
        )

    def _rarity(self, term: str) -> float:
        having = len(self._rows[term])
        return math.log(1 + (len(self._norms) - having + 0.5) / (having + 0.5))


def _weighed(rows: array[int], weights: Iterable[float]) -> Posting:
    # At least 1: what a row has in common with a question is never nothing.
    numbers = [int(weight * SCALE) + 1 for weight in weights]
    top = max(numbers)
    if top > _MOST:
        numbers = [min(number, _MOST) for number in numbers]
    return Posting(rows, array("H", numbers), min(top, _MOST))


def _flat(rows: array[int], weight: float) -> Posting:
    number = _weighed(rows, (weight,)).top
    return Posting(rows, array("H", (number,)) * len(rows), number)
