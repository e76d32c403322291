"""The processes of a run: this one's share of the work, and what they tell each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.passes import micro_batches

__all__ = ["Ranks"]


class Ranks:
    """This process among those of the run.

    Args:
        index: of this process, from 0.
        count: of all.
        device: that messages are sent from.
    """

    def __init__(self, index: int = 0, count: int = 1, device: Any = "cpu") -> None:
        self.index, self.count, self._device = index, count, device

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.index == 0

    def share(self, samples: Sequence[Encoded]) -> Sequence[Encoded]:
        """The dialogues that this process takes of a step: about as many tokens as each other one."""
        if self.count == 1:
            return samples
        batches = micro_batches(samples, 1 << 62, self.count)[self.index]
        return [sample for batch in batches for sample in batch]

    def summed(self, *values: float) -> list[float]:
        """Each value summed over all processes, the same everywhere."""
        if self.count == 1:
            return list(values)
        import torch

        sums = torch.tensor(values, dtype=torch.float64, device=self._device)
        torch.distributed.all_reduce(sums)
        found: list[float] = sums.tolist()
        return found

    def gathered(self, text: str) -> list[str]:
        """What each process says, in their order; all wait for each other."""
        if self.count == 1:
            return [text]
        import torch

        said = text.encode()
        longest = torch.tensor(len(said), device=self._device)
        torch.distributed.all_reduce(longest, op=torch.distributed.ReduceOp.MAX)
        row = torch.tensor(list(said.ljust(int(longest))), dtype=torch.uint8, device=self._device)
        rows = [torch.empty_like(row) for _ in range(self.count)]
        torch.distributed.all_gather(rows, row)
        return [bytes(found.tolist()).decode().rstrip() for found in rows]
