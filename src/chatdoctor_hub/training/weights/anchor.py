"""`Anchor`: holds the first tokens of each answer near the untuned model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.passes import logits_of
from chatdoctor_hub.training.recipe.options import AnchorConfig

if TYPE_CHECKING:
    import torch

__all__ = ["Anchor"]


class Anchor:
    """weight * KL(untuned || tuned), nats, summed over the first learned tokens of each doctor's turn.

    What an aligned model does is decided in its first tokens, which tuning moves the most (arXiv 2406.05946,
    section 4: there a constraint on the likelihood of these tokens, here the divergence from the untuned
    model). The untuned model is the same one with its adapter switched off, in a pass of its own without
    gradients or dropout: no second model is held.

    Args:
        config: weight, and tokens of each turn.
    """

    def __init__(self, config: AnchorConfig) -> None:
        self.config = config

    def __call__(
        self, model: Any, batch: Any, logits: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor | None:
        """The objective of a micro-batch (`passes.Objective`); None where nothing is learned in it.

        The model is switched back before this returns; models of different threads share nothing.
        """
        import torch

        chosen = _first_tokens(batch, targets, self.config.tokens)
        if not len(chosen):
            return None
        with torch.no_grad(), _untuned(model) as bare:
            before = torch.log_softmax(logits_of(bare, _only(batch, chosen)).float(), dim=-1)
        after = torch.log_softmax(logits[chosen].float(), dim=-1)
        divergence = torch.nn.functional.kl_div(after, before, reduction="sum", log_target=True)
        return self.config.weight * divergence


def _first_tokens(batch: Any, targets: torch.Tensor, tokens: int) -> torch.Tensor:
    """Indices, in the order of the logits, of the first learned tokens of each run of learned tokens."""
    import torch

    at = torch.nonzero(targets >= 0)[:, 0]
    # A number for each position, such that neighbours in a dialogue differ by one, and no others do.
    # (The first token of a dialogue is never learned, so between two dialogues one is always skipped.)
    places = batch.keep if hasattr(batch, "keep") else batch.rows * batch.ids.shape[1] + batch.columns
    places = places[at]
    if not len(places):
        return at
    order = torch.arange(len(places), device=places.device)
    begins = torch.ones_like(places, dtype=torch.bool)
    begins[1:] = places[1:] != places[:-1] + 1
    start = torch.cummax(torch.where(begins, order, torch.zeros_like(order)), dim=0).values
    return at[order - start < tokens]


def _only(batch: Any, chosen: torch.Tensor) -> Any:
    """The micro-batch with logits at the chosen places only."""
    names = ("keep", "targets") if hasattr(batch, "keep") else ("rows", "columns", "targets")
    return replace(batch, **{name: getattr(batch, name)[chosen] for name in names})


@contextmanager
def _untuned(model: Any) -> Iterator[Any]:
    """The model with its adapters switched off and nothing dropped.

    PEFT's own `disable_adapter` walks the whole model for a report and switches gradients off and on; the
    flag that it sets is all that the layers read.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    bare = getattr(model, "module", model)
    modes = [(module, module.training) for module in bare.modules()]
    layers = [module for module, _ in modes if isinstance(module, BaseTunerLayer)]
    flags = [layer._disable_adapters for layer in layers]
    try:
        for module, _ in modes:
            module.training = False
        for layer in layers:
            layer._disable_adapters = True
        yield bare
    finally:
        for module, training in modes:
            module.training = training
        for layer, flag in zip(layers, flags, strict=True):
            layer._disable_adapters = flag
