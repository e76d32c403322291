"""Sides that take turns, so that other work on the machine slows all alike; and what is made of their figures."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Found = dict[str, list[float]]


@dataclass(frozen=True)
class Bar:
    """What is to be reached.

    Args:
        said: in words.
        met: whether these figures reach it.
    """

    said: str
    met: Callable[[Found], bool]


@dataclass
class Contest:
    """One line of the table: several sides do the same thing.

    Args:
        what: is measured.
        unit: of the figures.
        sides: by name; each gives one figure. The first is ours.
        bar: for ours.
        more_is_better: whether a ratio is ours to theirs, or the other way round: above 1 ours is ahead.
        absent: what was left out, and why.
        note: said with the table, after all rounds.
    """

    what: str
    unit: str
    sides: Mapping[str, Callable[[], float]]
    bar: Bar
    more_is_better: bool = False
    absent: list[str] = field(default_factory=list)
    note: Callable[[], str] = str

    def rows(self, rounds: int) -> list[dict[str, Any]]:
        """Every side once without being counted, then all in turn, `rounds` times."""
        for measure in self.sides.values():
            measure()
        found: Found = {name: [] for name in self.sides}
        for number in range(rounds):
            for name, measure in self.sides.items():
                found[name].append(measure())
            print(f"{self.what}: round {number + 1} of {rounds}", file=sys.stderr, flush=True)
        mine = next(iter(found.values()))
        rows: list[dict[str, Any]] = []
        for name, values in found.items():
            ours = values is mine
            rows.append(
                {
                    "what": self.what,
                    "side": name,
                    "value": statistics.median(values),
                    "unit": self.unit,
                    "range": [min(values), max(values)],
                    "ratios": [] if ours else self._ratios(mine, values),
                    "bar": self.bar.said if ours else "",
                    "met": self.bar.met(found) if ours else None,
                    "note": self.note() if ours else "",
                }
            )
        return rows + [{"what": self.what, "side": name, "absent": True} for name in self.absent]

    def _ratios(self, mine: list[float], theirs: list[float]) -> list[float]:
        pairs = zip(mine, theirs, strict=True)
        return [round(a / b if self.more_is_better else b / a, 3) for a, b in pairs]


def at_most(limit: float, unit: str) -> Bar:
    """The median of ours is at most that."""
    return Bar(
        f"at most {limit:g} {unit}", lambda found: statistics.median(next(iter(found.values()))) <= limit
    )


def at_least(
    times: float, other: str, *, more_is_better: bool, agree: Callable[[], bool] | None = None
) -> Bar:
    """Ours is at least so many times as fast as another side, by the median of the rounds' ratios.

    Args:
        times: ratio.
        other: side.
        more_is_better: whether the figures are rates; otherwise they are times.
        agree: whether both made the same, where that is part of it.
    """

    def met(found: Found) -> bool:
        if other not in found:
            return False
        mine = next(iter(found.values()))
        pairs = list(zip(mine, found[other], strict=True))
        ratio = statistics.median(a / b if more_is_better else b / a for a, b in pairs)
        return ratio >= times and (agree is None or agree())

    return Bar(f"at least {times:g} times {other}", met)


def show(row: dict[str, Any]) -> str:
    """A row as a line of the table."""
    if row.get("absent"):
        return f"{'':34} {row['side']}: not here, left out"
    low, high = row["range"]
    line = f"{row['side'][:34]:34} {row['value']:10,.2f} {row['unit']:9} [{low:,.2f}, {high:,.2f}]"
    if row["ratios"]:
        ratios = row["ratios"]
        spread = f"[{min(ratios):.2f}, {max(ratios):.2f}]"
        line += f"   ours is {statistics.median(ratios):.2f} times as good {spread}"
    if row["bar"]:
        line += f"   {row['bar']}: {'met' if row['met'] else 'NOT met'}"
    return f"{line}  {row['note']}".rstrip()
