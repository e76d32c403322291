"""`Proportion`: so many of so many, never without its interval."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass

from chatdoctor_hub.errors import DataFormatError

__all__ = ["Proportion"]

Z_95 = 1.959963984540054
"""The 0.975 quantile of the standard normal distribution."""


@dataclass(frozen=True)
class Proportion:
    """`successes` out of `n`, with a 95 % Wilson score interval.

    With p = successes / n and z = 1.96 (the 0.975 normal quantile), the bounds are

        (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)

    (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22, 1927,
    209–212). Unlike p ± z·se it stays inside [0, 1] and is not empty at 0 or n successes: 0 of 30 has an
    upper bound of 11.4 %.

    Args:
        successes: how many of the `n` had the outcome; 0 … n.
        n: how many were looked at; at least 1.

    Raises:
        DataFormatError: when n < 1, or successes is outside 0 … n, or either is no whole number.
    """

    successes: int
    n: int

    def __post_init__(self) -> None:
        for name in ("successes", "n"):
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, operator.index(value))
            except TypeError:
                raise DataFormatError(
                    f"Expected {name} of a proportion to be a whole number, found {type(value).__name__}; "
                    "pass counts, not rates."
                ) from None
        if self.n < 1:
            raise DataFormatError(
                f"Expected a proportion of at least 1 case, found n = {self.n}; "
                "nothing was measured, so there is nothing to report."
            )
        if not 0 <= self.successes <= self.n:
            raise DataFormatError(
                f"Expected successes between 0 and n = {self.n}, found {self.successes}; check the counts."
            )

    @classmethod
    def of(cls, outcomes: Iterable[bool]) -> Proportion:
        """The proportion of true values among `outcomes`; refuses none at all (DataFormatError)."""
        values = [bool(outcome) for outcome in outcomes]
        return cls(sum(values), len(values))

    @property
    def rate(self) -> float:
        """The share of successes, between 0 and 1."""
        return self.successes / self.n

    @property
    def low(self) -> float:
        """Lower bound of the 95 % Wilson interval, between 0 and `rate`."""
        return min(_wilson_low(self.successes, self.n), self.rate)

    @property
    def high(self) -> float:
        """Upper bound of the 95 % Wilson interval, between `rate` and 1."""
        # The interval is symmetric under swapping successes and failures; said so, it is so to the last bit.
        return max(1.0 - _wilson_low(self.n - self.successes, self.n), self.rate)

    def to_record(self) -> dict[str, int | float]:
        """A plain dict for JSON: rate, successes, n, low, high."""
        return {
            "rate": self.rate,
            "successes": self.successes,
            "n": self.n,
            "low": self.low,
            "high": self.high,
        }

    def __str__(self) -> str:
        rate, low, high = (f"{100 * share:.1f}" for share in (self.rate, self.low, self.high))
        return f"{self.successes}/{self.n} = {rate} % [{low}, {high}]"


def _wilson_low(successes: int, n: int) -> float:
    if successes == 0:
        return 0.0  # exactly; the formula leaves a rounding error
    square = Z_95 * Z_95
    spread = Z_95 * math.sqrt(successes * (n - successes) / n + square / 4)
    return max(0.0, (successes + square / 2 - spread) / (n + square))
