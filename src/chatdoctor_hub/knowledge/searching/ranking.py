"""The k best rows for a question.

Rows without any word of the question among names and symptoms are no hits: pairs, whole symptoms and cause words
add to rows that a word has found. In a small table the postings are summed. In a large one (`bounds`) upper
bounds of all rows are summed instead, which is far cheaper, and only rows whose bound reaches the score of the
k-th best are looked at: the idea of MaxScore (Turtle and Flood, Query evaluation: strategies and
optimizations, 1995). Both give the same rows and scores.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import combinations, takewhile
from typing import NamedTuple

from chatdoctor_hub.knowledge.searching.bounds import Bounds, levels_of, rows_of
from chatdoctor_hub.knowledge.searching.terms import CAUSE, NAME, SYMPTOM, near_pairs, pair, whole
from chatdoctor_hub.knowledge.searching.weighing import SCALE, Posting

__all__ = ["Find", "Question", "Ranked", "pose", "rank"]

Find = Callable[[Iterable[str]], Mapping[str, Posting]]
"""Gives the postings of those of the terms that a table has."""

_WINDOW = 3  # stems among which a pair or a whole symptom is sought in the question
_ALONE = 16 * SCALE  # what a name gets that is the whole question
_MANY = 6_000  # rows in the words' postings from which bounds pay
_PROBES = 32  # rows that are looked at first, for the score that others must reach


class Ranked(NamedTuple):
    """A row and its score, in units of 1 / `weighing.SCALE`."""

    row: int
    score: int


class Question(NamedTuple):
    """What a table knows of a question: a posting for each term.

    Args:
        words: the terms that can find a row.
        others: the terms that add to the rows found.
        shown: all terms of names and symptoms, which explain a hit.
    """

    words: tuple[Posting, ...]
    others: tuple[Posting, ...]
    shown: Mapping[str, Posting]


def pose(stems: Sequence[str], find: Find) -> Question:
    """The terms of a question that the table has, from the question's stems in order."""
    words = find(dict.fromkeys(stems))
    near = {two for two in near_pairs(stems, _WINDOW) if two[0] in words and two[1] in words}
    pairs = find([pair(*two) for two in sorted(near)])
    groups: list[tuple[str, ...]] = [(word,) for word in words]
    groups += [two for two in sorted(near) if pair(*two) in pairs]
    groups += _threes(stems, pairs)
    wholes = find([whole(mark, group) for group in groups for mark in (SYMPTOM, NAME)])
    # A question that is a name and nothing else is about that disease.
    alone = find([whole(NAME, takewhile(bool, stems))])
    causes = find([CAUSE + word for word in dict.fromkeys(stems)])
    return Question(
        words=tuple(words.values()),
        others=(*pairs.values(), *wholes.values(), *causes.values(), *map(_raised, alone.values())),
        shown={**words, **pairs, **wholes},
    )


def _raised(posting: Posting) -> Posting:
    return Posting(posting.rows, array("H", (_ALONE,)) * len(posting.rows), _ALONE)


def _threes(stems: Sequence[str], pairs: Mapping[str, Posting]) -> list[tuple[str, ...]]:
    """Every three different words close together of which each two are a pair of the table."""
    threes: set[tuple[str, ...]] = set()
    for start in range(len(stems) - 2):
        for three in combinations(stems[start : start + _WINDOW], 3):
            if all(pair(*two) in pairs for two in combinations(three, 2)):
                threes.add(tuple(sorted(three)))
    return sorted(threes)


def rank(question: Question, k: int, kin: Sequence[int] | None = None) -> list[Ranked]:
    """The k best rows, best first, rows of one score in the table's order.

    Args:
        question: from `pose`.
        k: at least 1.
        kin: for each row the number of its name, where rows share names: of these only the best counts.
            None where all names differ.
    """
    if sum(len(posting.rows) for posting in question.words) < _MANY:
        return _best(_all_scores(question), k, kin)
    return _rank_bounded(question, k, kin)


def _all_scores(question: Question) -> dict[int, int]:
    """The score of every row that has a word of the question."""
    scores: dict[int, int] = {}
    get = scores.get
    for posting in question.words:
        for row, weight in zip(posting.rows, posting.weights, strict=True):
            scores[row] = get(row, 0) + weight
    for posting in question.others:
        if len(posting.rows) < 8 * len(scores):
            for row, weight in zip(posting.rows, posting.weights, strict=True):
                if row in scores:
                    scores[row] += weight
        else:
            for row in scores:
                scores[row] += posting.weight(row)
    return scores


def _rank_bounded(question: Question, k: int, kin: Sequence[int] | None) -> list[Ranked]:
    postings = sorted((*question.words, *question.others), key=lambda posting: -posting.top)
    bounds = Bounds(sum(posting.top for posting in postings), len(postings))
    among = 0
    for posting in postings:
        bounds.add(posting)
    for posting in question.words:
        among |= levels_of(posting)[0][0]
    scores: dict[int, int] = {}
    bar, wanted, looked_at = 0, max(_PROBES, 4 * k), 0
    while not bar and looked_at != among:  # rows that share names may take more than one round
        some = bounds.best(wanted, among)
        scores.update((row, _score(row, postings)) for row in rows_of(some & ~looked_at))
        best = _best(scores, k, kin)
        bar = best[-1].score if len(best) == k else 0
        looked_at |= some
        wanted *= 8
    left = bounds.at_least(bar) & among & ~looked_at
    scores.update((row, _score(row, postings)) for row in rows_of(left))
    return _best(scores, k, kin)


def _score(row: int, postings: Iterable[Posting]) -> int:
    return sum([posting.weight(row) for posting in postings])


def _best(scores: Mapping[int, int], k: int, kin: Sequence[int] | None) -> list[Ranked]:
    if kin is None:
        found = nlargest(k, ((score, -row) for row, score in scores.items()))
    else:
        by_name: dict[int, tuple[int, int]] = {}
        for row, score in scores.items():
            name = kin[row]
            by_name[name] = max(by_name.get(name, (0, 0)), (score, -row))
        found = nlargest(k, by_name.values())
    return [Ranked(-row, score) for score, row in found]
