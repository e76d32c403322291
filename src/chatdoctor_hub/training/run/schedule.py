"""Which dialogues go into which step, and how fast each step learns: functions of seed and step alone."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Iterator, Sequence
from functools import lru_cache

from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.recipe import TrainingConfig

__all__ = ["moments", "rate", "step_count", "step_numbers", "steps"]


def step_count(samples: int, batch_size: int, epochs: float, max_steps: int | None = None) -> int:
    """Optimizer steps of a run; at least one, and at most `max_steps`."""
    count = max(1, round(samples * epochs / batch_size))
    return min(count, max_steps or count)


def step_numbers(samples: int, batch_size: int, seed: int, step: int) -> list[int]:
    """The numbers of the dialogues of one optimizer step.

    Passes over the dialogues follow one another, each in an order of its own that is given by seed and pass;
    a step may end one pass and begin the next. Every pass uses each dialogue once.

    Args:
        samples: how many dialogues there are.
        batch_size: how many a step has.
        seed: of the orders.
        step: from 0.
    """
    start = step * batch_size
    return [
        _order(samples, f"{seed}:{at // samples}")[at % samples] for at in range(start, start + batch_size)
    ]


@lru_cache(maxsize=2)
def _order(samples: int, seed: str) -> array[int]:
    numbers = array("q", range(samples))
    random.Random(seed).shuffle(numbers)
    return numbers


def steps(
    samples: Sequence[Encoded], batch_size: int, epochs: float, seed: int, *, start: int = 0
) -> Iterator[list[Encoded]]:
    """The dialogues of each optimizer step from `start` on, read when they are asked for."""
    for step in range(start, step_count(len(samples), batch_size, epochs)):
        yield [samples[number] for number in step_numbers(len(samples), batch_size, seed, step)]


def moments(total: int, times: int) -> frozenset[int]:
    """The steps, from 0, after which something is done that is done so often in a run; the last is among them."""
    return frozenset(max(0, round(total * (number + 1) / times) - 1) for number in range(times))


def rate(step: int, total: int, settings: TrainingConfig) -> float:
    """Share of the highest learning rate at a step: linear up, then as `settings.schedule` says.

    No step stands still: the first one already learns, and so does the last.

    Args:
        step: from 0.
        total: steps of the run.
        settings: schedule, warmup_ratio or warmup_steps, decay_ratio.
    """
    warmup = max(
        1.0, settings.warmup_ratio * total if settings.warmup_steps is None else settings.warmup_steps
    )
    return min(1.0, (step + 1) / warmup, _fall(step, total, warmup, settings))


def _fall(step: int, total: int, warmup: float, settings: TrainingConfig) -> float:
    """What the schedule allows at a step, the warm-up aside."""
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "trapezoid":
        decay = settings.decay_ratio * total
        return 1.0 if decay < 1 else (total - step) / decay
    left = min(1.0, (total - step) / max(1.0, total - warmup + 1))
    return left if settings.schedule == "linear" else 0.5 - 0.5 * math.cos(math.pi * left)
