"""Time and tokens at the end of each step."""

from __future__ import annotations

import time
from typing import Any

from train_loops.task import WARM_UP

__all__ = ["Clock"]


class Clock:
    """Real tokens a second after the warm-up: by the wall, and of one core (what other work takes is left out)."""

    def __init__(self) -> None:
        self._ends: list[tuple[float, float, float]] = []

    def step(self, tokens: float) -> None:
        """A step has ended, and so many tokens in all have gone through."""
        self._ends.append((time.perf_counter(), time.process_time(), tokens))

    def result(self) -> dict[str, Any]:
        (start, busy, before), (end, still, after) = self._ends[WARM_UP - 1], self._ends[-1]
        return {
            "value": (after - before) / (end - start),
            "per_core": (after - before) / (still - busy),
            "tokens": int(after),
            "steps": len(self._ends),
        }
