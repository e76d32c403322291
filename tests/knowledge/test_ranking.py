from __future__ import annotations

from array import array

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.knowledge import Disease
from chatdoctor_hub.knowledge.searching import ranking
from chatdoctor_hub.knowledge.searching.bounds import Bounds, levels_of, row_set, rows_of
from chatdoctor_hub.knowledge.searching.ranking import Question, Ranked, pose, rank
from chatdoctor_hub.knowledge.searching.weighing import Posting, Weights

ROWS = 300


@st.composite
def postings(draw: st.DrawFn, most: int = 9_000) -> Posting:
    rows = sorted(draw(st.sets(st.integers(0, ROWS - 1), min_size=1, max_size=ROWS)))
    few = draw(st.lists(st.integers(1, most), min_size=1, max_size=4))  # ties are the rule
    weights = array("H", [few[(row * 7) % len(few)] for row in rows])
    return Posting(array("I", rows), weights, max(weights))


QUESTIONS = st.builds(
    lambda words, others: Question(tuple(words), tuple(others), {}),
    st.lists(postings(), min_size=1, max_size=5),
    st.lists(postings(3_000), max_size=6),
)
KIN = st.none() | st.lists(st.integers(0, 40), min_size=ROWS, max_size=ROWS)


def by_reading_all(question: Question, k: int, kin: list[int] | None) -> list[Ranked]:
    """The definition, word for word."""
    found = {row for posting in question.words for row in posting.rows}
    every = (*question.words, *question.others)
    scored = [Ranked(row, sum(posting.weight(row) for posting in every)) for row in found]
    scored.sort(key=lambda item: (-item.score, item.row))
    best: dict[int, Ranked] = {}
    for item in scored:
        best.setdefault(item.row if kin is None else kin[item.row], item)
    return list(best.values())[:k]


@settings(max_examples=150, deadline=None)
@given(QUESTIONS, st.integers(1, 60), KIN)
def test_both_ways_of_ranking_give_what_reading_everything_gives(
    question: Question, k: int, kin: list[int] | None
) -> None:
    expected = by_reading_all(question, k, kin)
    assert ranking._best(ranking._all_scores(question), k, kin) == expected
    assert ranking._rank_bounded(question, k, kin) == expected
    assert rank(question, k, kin) == expected


def test_a_question_without_words_has_no_rows() -> None:
    empty = Question((), (), {})
    assert rank(empty, 3) == []
    assert ranking._rank_bounded(empty, 3, None) == []


@given(st.sets(st.integers(0, 2_000)))
def test_a_set_of_rows_is_read_back(rows: set[int]) -> None:
    assert list(rows_of(row_set(sorted(rows)))) == sorted(rows)


@given(st.lists(postings(60_000), min_size=1, max_size=6), st.integers(1, 200_000))
def test_bounds_are_never_too_low(many: list[Posting], score: int) -> None:
    bounds = Bounds(sum(posting.top for posting in many), len(many))
    for posting in many:
        bounds.add(posting)
    reached = {row for row in range(ROWS) if sum(posting.weight(row) for posting in many) >= score}
    assert reached <= set(rows_of(bounds.at_least(score) & ((1 << ROWS) - 1)))


@given(postings())
def test_levels_cover_every_row_with_its_weight(posting: Posting) -> None:
    for row, weight in zip(posting.rows, posting.weights, strict=True):
        assert weight <= max(most for rows, most in levels_of(posting) if rows >> row & 1)


def test_what_stands_in_one_symptom_is_paired_and_whole() -> None:
    weights = Weights(
        [Disease("Oddpox", ("Sharp chest pain",)), Disease("Evenpox", ("Chest spots", "Leg pain"))]
    )
    question = pose(["pain", "sharp", "chest"], weights.find)
    assert set(question.shown) == {"pain", "sharp", "chest", "chest pain", "pain sharp", "chest sharp"} | {
        "=chest pain sharp"
    }
    assert "chest pain" not in pose(["pain", "", "", "", "chest"], weights.find).shown


def test_a_row_is_not_found_by_its_cause_alone() -> None:
    weights = Weights(
        [
            Disease("Oddpox", ("Spots",), cause="Mosquitoes"),
            Disease("Evenpox", ("Spots",)),
            Disease("X", ("Y",)),
        ]
    )
    assert rank(pose(["mosquito"], weights.find), 3) == []
    assert [item.row for item in rank(pose(["mosquito", "spot"], weights.find), 3)] == [0, 1]


@pytest.mark.parametrize("weight", [1, 65_535])
def test_weights_stay_in_two_bytes(weight: int) -> None:
    posting = Posting(array("I", [0, 5]), array("H", [weight, weight]), weight)
    assert (posting.weight(5), posting.weight(4), posting.weight(6)) == (weight, 0, 0)
