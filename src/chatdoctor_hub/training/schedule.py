"""Which dialogues go into which step, and how fast each step learns: functions of seed and step alone."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from chatdoctor_hub.training.encoding import Encoded

__all__ = ["micro_batches", "rate", "step_count", "steps"]


def step_count(samples: int, batch_size: int, epochs: float) -> int:
    """Optimizer steps of a run; at least one."""
    return max(1, round(samples * epochs / batch_size))


def steps(samples: Sequence[Encoded], batch_size: int, epochs: float, seed: int) -> Iterator[list[Encoded]]:
    """The dialogues of each optimizer step; every pass is in an order of its own, and uses each once."""
    pool: list[Encoded] = []
    epoch = 0
    for _ in range(step_count(len(samples), batch_size, epochs)):
        while len(pool) < batch_size:
            order = list(range(len(samples)))
            random.Random(f"{seed}:{epoch}").shuffle(order)
            pool += [samples[number] for number in order]
            epoch += 1
        yield pool[:batch_size]
        pool = pool[batch_size:]


def micro_batches(step: Sequence[Encoded], budget: int, workers: int) -> list[list[list[Encoded]]]:
    """Share a step between workers, then cut each share under the token budget.

    Returns:
        For each worker its micro-batches. The shares hold about equally many tokens; a dialogue longer
        than the budget stands alone.
    """
    shares: list[list[Encoded]] = [[] for _ in range(workers)]
    sizes = [0] * workers
    for sample in sorted(step, key=len, reverse=True):
        lightest = sizes.index(min(sizes))
        shares[lightest].append(sample)
        sizes[lightest] += len(sample)
    return [_cut(share, budget) for share in shares]


def _cut(share: Sequence[Encoded], budget: int) -> list[list[Encoded]]:
    batches: list[list[Encoded]] = []
    room = 0
    for sample in share:
        if not batches or len(sample) > room:
            batches.append([])
            room = budget
        batches[-1].append(sample)
        room -= len(sample)
    return batches


def rate(step: int, total: int, warmup_ratio: float, decay_ratio: float) -> float:
    """Share of the highest learning rate at `step` (from 0): linear up, level, linear down to near 0."""
    warmup, decay = max(1.0, warmup_ratio * total), decay_ratio * total
    rise = min(1.0, (step + 1) / warmup)
    fall = 1.0 if decay < 1 else min(1.0, (total - step) / decay)
    return min(rise, fall)
