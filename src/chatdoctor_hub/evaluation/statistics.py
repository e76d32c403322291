"""Paired comparisons: a difference never goes out without its interval or its p-value.

Exact and deterministic. Only `paired_bootstrap` needs numpy, and imports it when called.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import DataFormatError, MissingExtraError

__all__ = ["McNemar", "PairedDifference", "mcnemar", "paired_bootstrap"]

_DRAWS_AT_ONCE = 2_000_000
"""How many indices of a bootstrap are held in memory together (16 MB)."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of after − before over pairs, with a 95 % percentile bootstrap interval.

    Args:
        mean: the mean difference, in the unit of the values.
        low: 2.5 % quantile of the resampled means.
        high: 97.5 % quantile of the resampled means.
        n: number of pairs.
        resamples: how many resamples were drawn.
        seed: the seed they were drawn with.
    """

    mean: float
    low: float
    high: float
    n: int
    resamples: int
    seed: int

    def to_record(self) -> dict[str, int | float]:
        """A plain dict for JSON."""
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "n": self.n,
            "resamples": self.resamples,
            "seed": self.seed,
        }

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}] (n = {self.n})"


def paired_bootstrap(
    before: Sequence[float], after: Sequence[float], resamples: int = 10_000, seed: int = 0
) -> PairedDifference:
    """How much a continuous score moved between two systems asked the same questions.

    Resamples the pairs, not the values, so what the pairs share (an easy or a hard case) cancels out
    (percentile bootstrap: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 13; paired
    for language systems: Koehn, EMNLP 2004). One value a case; values of the same case (the turns of one
    dialogue) must be averaged first, as they are not independent.

    Args:
        before: the score of each case under the first system.
        after: the score of the same cases, in the same order, under the second.
        resamples: how many resamples to draw; at least 1.
        seed: makes the interval repeatable.

    Raises:
        DataFormatError: for unequal lengths, fewer than 2 pairs, values that are not finite, or
            resamples < 1.
        MissingExtraError: without numpy.
    """
    _check_pairs(before, after, least=2)
    if resamples < 1:
        raise DataFormatError(f"Expected at least 1 resample, found {resamples}; 10000 is usual.")
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtraError("numpy", "eval") from error
    differences: Any = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(differences))
    if bad.size:
        raise DataFormatError(
            f"Expected finite values in every pair, found another in pair {int(bad[0])} (from 0); "
            "leave that case out of both."
        )
    n = len(differences)
    generator = np.random.default_rng(seed)
    means: Any = np.empty(resamples)
    step = max(1, _DRAWS_AT_ONCE // n)
    for start in range(0, resamples, step):
        stop = min(start + step, resamples)
        means[start:stop] = differences[generator.integers(0, n, size=(stop - start, n))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return PairedDifference(
        mean=float(differences.mean()), low=float(low), high=float(high), n=n, resamples=resamples, seed=seed
    )


@dataclass(frozen=True)
class McNemar:
    """What changed between two systems with yes/no outcomes, and how likely chance alone does as much.

    Args:
        gained: pairs that were false before and are true after.
        lost: pairs that were true before and are false after.
        n: number of pairs.
        p_value: exact, two-sided.
    """

    gained: int
    lost: int
    n: int
    p_value: float

    def to_record(self) -> dict[str, int | float]:
        """A plain dict for JSON."""
        return {"gained": self.gained, "lost": self.lost, "n": self.n, "p_value": self.p_value}

    def __str__(self) -> str:
        return f"+{self.gained} -{self.lost} of {self.n}, p = {self.p_value:.3g}"


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> McNemar:
    """Exact McNemar test for paired yes/no outcomes (Q. McNemar, Psychometrika 12, 1947, 153–157).

    Only the pairs that changed count: under no effect each falls either way with probability 1/2, so the
    two-sided p value is twice the binomial tail at the rarer direction, at most 1.

    Args:
        before: the outcome of each case under the first system.
        after: the outcome of the same cases, in the same order, under the second.

    Raises:
        DataFormatError: for unequal lengths or no pairs.
    """
    _check_pairs(before, after, least=1)
    pairs = [(bool(first), bool(second)) for first, second in zip(before, after, strict=True)]
    gained = pairs.count((False, True))
    lost = pairs.count((True, False))
    changed = gained + lost
    # Whole numbers to the end: exact, and no underflow at thousands of changed pairs.
    tail = sum(math.comb(changed, k) for k in range(min(gained, lost) + 1))
    return McNemar(gained, lost, len(pairs), min(1.0, 2 * tail / 2**changed))


def _check_pairs(before: Sequence[object], after: Sequence[object], least: int) -> None:
    if len(before) != len(after):
        raise DataFormatError(
            f"Expected one value before and one after for each case, found {len(before)} and {len(after)}; "
            "compare the same cases."
        )
    if len(before) < least:
        raise DataFormatError(
            f"Expected at least {least} pair{'s' if least > 1 else ''} to compare, found {len(before)}; "
            "measure more cases."
        )
