"""How a step is shared between workers and cut into micro-batches under a token budget."""

from __future__ import annotations

from collections.abc import Sequence

from chatdoctor_hub.training.data.encoded import Encoded

__all__ = ["learned_in", "micro_batches"]


def micro_batches(
    step: Sequence[Encoded], budget: int, workers: int, *, padded: bool = False
) -> list[list[list[Encoded]]]:
    """Share a step between workers, then cut each share under the token budget.

    Args:
        step: dialogues, in any order; their order does not change the result but for equal lengths.
        budget: tokens a micro-batch may hold.
        workers: how many share the step.
        padded: count what padding to the longest of a micro-batch adds.

    Returns:
        For each worker its micro-batches, the longest dialogues first. The shares hold about equally many
        tokens; a dialogue longer than the budget stands alone.
    """
    shares: list[list[Encoded]] = [[] for _ in range(workers)]
    sizes = [0] * workers
    for sample in sorted(step, key=len, reverse=True):
        lightest = sizes.index(min(sizes))
        shares[lightest].append(sample)
        sizes[lightest] += len(sample)
    return [_cut(share, budget, padded) for share in shares]


def _cut(share: Sequence[Encoded], budget: int, padded: bool) -> list[list[Encoded]]:
    """As few micro-batches as there can be, about equally long: a short one costs as much time a token again."""
    if not padded and share:
        total = sum(map(len, share))
        budget = min(budget, -(-total // -(-total // budget)) + len(share[-1]))
    batches: list[list[Encoded]] = []
    room = 0
    for sample in share:
        # The first of a micro-batch is its longest: that is what the others are padded to.
        size = len(batches[-1][0]) if padded and batches else len(sample)
        if not batches or size > room:
            batches.append([])
            room, size = budget, len(sample)
        batches[-1].append(sample)
        room -= size
    return batches


def learned_in(samples: Sequence[Encoded]) -> int:
    """Labelled tokens of `samples` that are learned: a dialogue's first token has nothing before it."""
    import numpy

    return sum(int(numpy.count_nonzero(numpy.asarray(sample.labelled)[1:])) for sample in samples)
