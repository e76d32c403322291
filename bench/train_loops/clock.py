"""Time and tokens at the end of each step, while several loops take their steps in turn."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from train_loops.task import WARM_UP

__all__ = ["STEP_TAKEN", "Clock", "take_turns"]

STEP_TAKEN = "== step taken =="

_between_steps: list[Callable[[], None]] = []


def take_turns() -> None:
    """From now on, after each step, say so on stdout and wait for a line on stdin."""

    def wait() -> None:
        print(STEP_TAKEN, flush=True)
        sys.stdin.readline()

    _between_steps[:] = [wait]


class Clock:
    """Real tokens a second after the warm-up: by the wall, and of one core (what other work takes is left out).

    Neither counts the time in which other loops have their turn.
    """

    def __init__(self) -> None:
        self._ends: list[tuple[float, float, float]] = []
        self._wall = self._busy = 0.0
        self._since = (time.perf_counter(), time.process_time())

    def step(self, tokens: float) -> None:
        """A step has ended, and so many tokens in all have gone through."""
        self._wall += time.perf_counter() - self._since[0]
        self._busy += time.process_time() - self._since[1]
        self._ends.append((self._wall, self._busy, tokens))
        for wait in _between_steps:
            wait()
        self._since = (time.perf_counter(), time.process_time())

    def result(self) -> dict[str, Any]:
        (start, busy, before), (end, still, after) = self._ends[WARM_UP - 1], self._ends[-1]
        return {
            "value": (after - before) / (end - start),
            "per_core": (after - before) / (still - busy),
            "tokens": int(after),
            "steps": len(self._ends),
        }
