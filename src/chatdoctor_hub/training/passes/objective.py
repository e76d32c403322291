"""Interface of a further objective beside the likelihood of the labelled tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from chatdoctor_hub.training.passes.flat import Flat
    from chatdoctor_hub.training.passes.padded import Padded

__all__ = ["Objective"]


class Objective(Protocol):
    """A further objective, nats summed over a micro-batch, added to its summed loss."""

    def __call__(
        self, model: Any, batch: Flat | Padded, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor | None:
        """Its value for a micro-batch.

        Args:
            model: the one that gave the logits; `logits_of(model, batch)` asks it again.
            batch: the micro-batch, laid out as it went in.
            logits: (n, vocabulary), with their graph.
            targets: (n,) the tokens that are learned, in the order of the logits; -100 is filler.

        Returns:
            A tensor of one number with its graph, or None where there is nothing to add.
        """
        ...
