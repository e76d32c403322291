"""Models wrapped by DDP or FSDP2: how many processes they average over, and what surrounds their passes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["Wrapping"]


class Wrapping:
    """What wraps a model, if anything.

    Args:
        model: as it is called.

    Attributes:
        bare: the model inside DDP; the model itself else.
        sharded: whether FSDP2 holds its weights in shards, and gathers them when the model is called.
        shared: whether DDP wraps it: each process has all weights, and gradients are to be added up.
    """

    def __init__(self, model: Any) -> None:
        self.bare = getattr(model, "module", model)
        self.shared = self.bare is not model
        self.sharded = _is_sharded(model)

    @property
    def processes(self) -> int:
        """How many processes work on a step together."""
        import torch

        if not (self.sharded or self.shared) or not torch.distributed.is_initialized():
            return 1
        return int(torch.distributed.get_world_size())

    def most(self, count: int, device: torch.device) -> int:
        """The largest `count` among processes with shards: all must call the model equally often."""
        import torch

        if not self.sharded or self.processes == 1:
            return count
        found = torch.tensor(count, device=device)
        torch.distributed.all_reduce(found, op=torch.distributed.ReduceOp.MAX)
        return int(found)

    def add_up(self, gradients: list[torch.Tensor]) -> list[torch.Tensor]:
        """The sums of `gradients` over all processes, where these share the weights."""
        import torch

        if not self.shared or self.processes == 1 or not gradients:
            return gradients
        whole = torch.cat([gradient.reshape(-1) for gradient in gradients])
        torch.distributed.all_reduce(whole)
        parts = whole.split_with_sizes([gradient.numel() for gradient in gradients])
        return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]

    def during(self, precision: torch.dtype, device: torch.device) -> Callable[[], Any]:
        """What surrounds the forward pass: autocast where weights are sharded, which cannot be copied."""
        import torch

        if not self.sharded or precision == torch.float32:
            return nullcontext
        return lambda: torch.autocast(device.type, precision)


def _is_sharded(model: Any) -> bool:
    """Whether FSDP2 holds the weights in shards."""
    import torch

    if not torch.distributed.is_available():
        return False
    from torch.distributed.fsdp import FSDPModule

    return isinstance(model, FSDPModule)
