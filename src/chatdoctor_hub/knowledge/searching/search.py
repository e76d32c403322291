"""Search over a disease table in memory: what a hit is, and how the parts of a search come together.

A question becomes stems (`questions`), these become the terms that the table has (`ranking.pose`), whose
weights (`weighing`) are summed for the best rows (`ranking.rank`). `DiseaseTable.search` and `DiseaseIndex`
go the same way and give the same hits; they differ in where the postings are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge.disease import Disease
from chatdoctor_hub.knowledge.searching.embedding import Nearness, Vectors, entries_of
from chatdoctor_hub.knowledge.searching.questions import question_clauses, question_stems
from chatdoctor_hub.knowledge.searching.ranking import Find, Question, pose, rank
from chatdoctor_hub.knowledge.searching.terms import NAME, SYMPTOM, entry_terms, whole
from chatdoctor_hub.knowledge.searching.weighing import SCALE, Weights

__all__ = ["Hit", "SearchIndex", "find_hits", "kin_of"]

_MAX_MATCHED = 6
_CANDIDATES = 256  # of each of the two ways, when they are fused


@dataclass(frozen=True)
class Hit:
    """A disease that fits a question.

    Args:
        disease: the row.
        score: above 0; comparable within one question and one way of ranking only.
        matched: the row's own names and symptoms that account for the match, the weightiest first; they
            never hold the words of the question.
        id: the number of the row in its table, from 1, as text.
        table: the source of the table, or "" where only the rows know where they come from.
    """

    disease: Disease
    score: float
    matched: tuple[str, ...]
    id: str = ""
    table: str = ""

    @property
    def source(self) -> str:
        """Where the row stands: "format_dataset.csv line 43"."""
        where = self.table or self.disease.source or "table"
        return f"{where} line {self.disease.line}" if self.disease.line else f"{where} row {self.id}"


class SearchIndex:
    """The postings of a table, in memory.

    Args:
        diseases: the rows; rows of one name compete, and only the best of them becomes a hit.
        source: of the table.
    """

    def __init__(self, diseases: Sequence[Disease], source: str = "") -> None:
        self._diseases = diseases
        self._source = source
        self._weights = Weights(diseases)
        self._kin = kin_of(diseases)

    def search(self, text: str, k: int) -> list[Hit]:
        """The k best rows for the text, best first.

        Raises:
            ConfigError: when k is below 1.
        """
        return find_hits(text, k, self._weights.find, self._diseases.__getitem__, self._kin, self._source)


def find_hits(
    text: str,
    k: int,
    find: Find,
    disease: Callable[[int], Disease],
    kin: Sequence[int] | None,
    source: str = "",
    vectors: Vectors | None = None,
) -> list[Hit]:
    """The k best rows for a text, wherever their postings are.

    Args:
        text: a patient's words.
        k: how many at most.
        find: gives the postings of terms.
        disease: gives the row of a number, from 0.
        kin: see `kin_of`.
        source: of the table.
        vectors: of the table, to add nearness in meaning to the lexical scores.

    Raises:
        ConfigError: when k is below 1.
    """
    if k < 1:
        raise ConfigError(f"Expected k, the number of hits wanted, to be at least 1, found {k}; raise it.")
    question = pose(question_stems(text), find)
    if vectors is None:
        found = [(row, score / SCALE) for row, score in rank(question, k, kin)]
        nearness = None
    else:
        nearness = vectors.near(question_clauses(text))
        found = _fused(question, nearness, k, kin)
    hits = []
    for row, score in found:
        values = disease(row)
        matched = _matched(row, values, question)
        if nearness:
            near = entries_of(values)
            matched = tuple(dict.fromkeys((*matched, *(near[place] for place in nearness.entries(row)))))
        hits.append(Hit(values, score, matched[:_MAX_MATCHED], str(row + 1), source))
    return hits


def _fused(
    question: Question, nearness: Nearness, k: int, kin: Sequence[int] | None
) -> list[tuple[int, float]]:
    """The k best by both scores together, among those that are good by one of them."""
    many = max(_CANDIDATES, 8 * k)
    rows = {row for row, _ in rank(question, many, None)} | set(nearness.best(many))
    postings = (*question.words, *question.others)
    scored = [
        (sum([posting.weight(row) for posting in postings]) / SCALE + nearness.score(row), row)
        for row in rows
    ]
    best: dict[int, tuple[float, int]] = {}
    for score, row in sorted(scored, key=lambda item: (-item[0], item[1])):
        best.setdefault(row if kin is None else kin[row], (score, row))
        if len(best) == k:
            break
    return [(row, score) for score, row in best.values()]


def kin_of(diseases: Iterable[Disease]) -> tuple[int, ...] | None:
    """For each row the number of its name, letter case aside; None where all names differ."""
    numbers: dict[str, int] = {}
    kin = tuple(numbers.setdefault(disease.name.casefold(), len(numbers)) for disease in diseases)
    return None if len(numbers) == len(kin) else kin


def _matched(row: int, disease: Disease, question: Question) -> tuple[str, ...]:
    """The fewest entries of the row, greedily, that hold all its terms of the question."""
    left = {term: weight for term, p in question.shown.items() if (weight := p.weight(row))}
    entries = [(disease.name, _terms_of(disease.name, NAME))]
    entries += [(text, _terms_of(text, SYMPTOM)) for text in (*disease.symptoms, *disease.lay_symptoms)]
    holding = [(text, held) for text, terms in entries if (held := terms & left.keys())]
    matched: list[str] = []
    while left and len(matched) < _MAX_MATCHED:
        gains = [sum([left[term] for term in held if term in left]) for _, held in holding]
        text, held = holding[gains.index(max(gains))]
        matched.append(text)
        for term in held:
            left.pop(term, None)
    return tuple(matched)


@lru_cache(maxsize=4_096)
def _terms_of(text: str, mark: str) -> frozenset[str]:
    words, pairs = entry_terms(text)
    return frozenset((*words, *pairs, whole(mark, words)))
