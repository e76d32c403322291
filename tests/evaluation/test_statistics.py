from __future__ import annotations

import json
import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import DataFormatError, MissingExtraError
from chatdoctor_hub.evaluation import Proportion, mcnemar, paired_bootstrap

counts = st.integers(1, 5_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
values = st.floats(-100, 100, allow_nan=False)
pairs = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        (0, 30, 0.0, 0.1135),
        (0, 100, 0.0, 0.0370),
        (0, 400, 0.0, 0.0095),
        (30, 30, 0.8865, 1.0),
        # Newcombe, Statistics in Medicine 17 (1998) 857-872, table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_bounds_known(successes: int, n: int, low: float, high: float) -> None:
    proportion = Proportion(successes, n)
    assert proportion.low == pytest.approx(low, abs=6e-5)
    assert proportion.high == pytest.approx(high, abs=6e-5)


@given(counts)
def test_wilson_bounds_enclose_the_rate(count: tuple[int, int]) -> None:
    p = Proportion(*count)
    assert 0.0 <= p.low <= p.rate <= p.high <= 1.0
    assert p.low < p.high


@given(counts)
def test_wilson_bounds_solve_the_score_equation(count: tuple[int, int]) -> None:
    # Both bounds are where (rate - bound)² = z² · bound(1 - bound) / n: the definition, not the formula.
    p = Proportion(*count)
    for bound in (p.low, p.high):
        assert (p.rate - bound) ** 2 == pytest.approx(3.841458820694 * bound * (1 - bound) / p.n, abs=1e-9)


@given(counts)
def test_wilson_is_symmetric_under_swapping_outcomes(count: tuple[int, int]) -> None:
    successes, n = count
    p, swapped = Proportion(successes, n), Proportion(n - successes, n)
    assert p.low == pytest.approx(1 - swapped.high, abs=1e-12)
    assert p.high == pytest.approx(1 - swapped.low, abs=1e-12)


@given(st.integers(1, 500))
def test_more_cases_narrow_the_interval(n: int) -> None:
    assert Proportion(0, n + 1).high < Proportion(0, n).high
    assert Proportion(0, n).low == 0.0
    assert Proportion(n, n).high == 1.0


def test_proportion_prints_and_records_its_interval() -> None:
    assert str(Proportion(0, 30)) == "0/30 = 0.0 % [0.0, 11.4]"
    assert str(Proportion(30, 30)) == "30/30 = 100.0 % [88.6, 100.0]"
    record = Proportion(3, 30).to_record()
    assert set(record) == {"rate", "successes", "n", "low", "high"}
    assert json.loads(json.dumps(record)) == record
    assert record["rate"] == 0.1


def test_proportion_of_outcomes() -> None:
    assert Proportion.of(x > 1 for x in (1, 2, 3)) == Proportion(2, 3)
    with pytest.raises(DataFormatError, match="n = 0"):
        Proportion.of([])


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (1, 0), (0, -1), (-1, 3), (4, 3), (0.5, 2), ("1", 2)])
def test_proportion_refuses_impossible_counts(successes: int, n: int) -> None:
    with pytest.raises(DataFormatError, match="Expected"):
        Proportion(successes, n)


def test_proportion_takes_numpy_counts_and_stays_plain() -> None:
    np = pytest.importorskip("numpy")
    p = Proportion(np.int64(1), np.int64(4))
    assert json.dumps(p.to_record())
    assert hash(p) == hash(Proportion(1, 4))


# --- paired bootstrap


def test_bootstrap_matches_the_normal_interval_on_many_pairs() -> None:
    np = pytest.importorskip("numpy")
    generator = np.random.default_rng(3)
    before = generator.normal(10, 3, 2_000)
    after = before + generator.normal(0.5, 1.0, 2_000)
    result = paired_bootstrap(before, after, resamples=2_000)
    half = 1.96 * np.std(after - before) / math.sqrt(2_000)
    assert result.mean == pytest.approx(float(np.mean(after - before)))
    assert result.low == pytest.approx(result.mean - half, abs=half / 5)
    assert result.high == pytest.approx(result.mean + half, abs=half / 5)
    assert (result.n, result.resamples, result.seed) == (2_000, 2_000, 0)


def test_bootstrap_is_paired() -> None:
    # The cases differ widely, the change does not: an unpaired interval would be hundreds wide.
    before = [float(100 * i) for i in range(20)]
    result = paired_bootstrap(before, [x - 2 for x in before])
    assert (result.mean, result.low, result.high) == (-2.0, -2.0, -2.0)
    assert str(result) == "-2.000 [-2.000, -2.000] (n = 20)"


@given(st.lists(st.tuples(values, values), min_size=2, max_size=15), st.integers(0, 3))
def test_bootstrap_properties(items: list[tuple[float, float]], seed: int) -> None:
    before, after = [b for b, _ in items], [a for _, a in items]
    result = paired_bootstrap(before, after, resamples=200, seed=seed)
    differences = [a - b for b, a in items]
    slack = 1e-9
    assert min(differences) - slack <= result.low <= result.high <= max(differences) + slack
    assert result == paired_bootstrap(before, after, resamples=200, seed=seed)
    assert paired_bootstrap(after, before, resamples=200, seed=seed).mean == pytest.approx(-result.mean)


def test_bootstrap_in_pieces_is_the_bootstrap_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from chatdoctor_hub.evaluation import statistics

    before, after = [1.0, 2.0, 4.0, 8.0], [2.0, 2.5, 3.0, 9.0]
    whole = paired_bootstrap(before, after, resamples=100)
    monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", 9)
    assert paired_bootstrap(before, after, resamples=100) == whole


@pytest.mark.parametrize(
    ("before", "after", "resamples", "words"),
    [
        ([1.0], [1.0, 2.0], 10, "found 1 and 2"),
        ([], [], 10, "found 0"),
        ([1.0], [2.0], 10, "at least 2 pairs"),
        ([1.0, 2.0], [2.0, math.nan], 10, "pair 1"),
        ([math.inf, 2.0], [2.0, 1.0], 10, "pair 0"),
        ([1.0, 2.0], [2.0, 1.0], 0, "at least 1 resample"),
    ],
)
def test_bootstrap_refuses(before: list[float], after: list[float], resamples: int, words: str) -> None:
    with pytest.raises(DataFormatError, match=words):
        paired_bootstrap(before, after, resamples=resamples)


def test_bootstrap_without_numpy_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtraError, match=r"numpy.*chatdoctor-hub\[eval\]"):
        paired_bootstrap([1.0, 2.0], [2.0, 3.0])


# --- McNemar


@pytest.mark.parametrize(
    ("gained", "lost", "p_value"),
    [(0, 0, 1.0), (0, 5, 0.0625), (0, 6, 0.03125), (1, 9, 22 / 1024), (5, 5, 1.0), (2, 8, 112 / 1024)],
)
def test_mcnemar_known(gained: int, lost: int, p_value: float) -> None:
    before = [False] * gained + [True] * lost + [True, False]
    after = [True] * gained + [False] * lost + [True, False]
    result = mcnemar(before, after)
    assert (result.gained, result.lost, result.n) == (gained, lost, gained + lost + 2)
    assert result.p_value == pytest.approx(p_value)
    assert json.dumps(result.to_record())


@given(pairs)
def test_mcnemar_properties(items: list[tuple[bool, bool]]) -> None:
    before, after = [b for b, _ in items], [a for _, a in items]
    result, swapped = mcnemar(before, after), mcnemar(after, before)
    assert 0 < result.p_value <= 1
    assert result.p_value == swapped.p_value
    assert (result.gained, result.lost) == (swapped.lost, swapped.gained)
    # Pairs that did not change say nothing.
    assert mcnemar([*before, True, False], [*after, True, False]).p_value == result.p_value


def test_mcnemar_survives_thousands_of_pairs() -> None:
    assert mcnemar([True] * 3_000, [False] * 3_000).p_value == 0.0  # below the smallest float, no error
    assert mcnemar([True, False] * 1_500, [False, True] * 1_500).p_value == 1.0


@pytest.mark.parametrize(("before", "after"), [([], []), ([True], []), ([True], [True, False])])
def test_mcnemar_refuses(before: list[bool], after: list[bool]) -> None:
    with pytest.raises(DataFormatError, match="Expected"):
        mcnemar(before, after)
