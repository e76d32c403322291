"""The memory that a recipe will need, from the base's config alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data import Encoded
from chatdoctor_hub.training.passes import Budget, budget_for, precision_for, worker_count
from chatdoctor_hub.training.planning.prepared import Prepared
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.weights.checking import shape_of
from chatdoctor_hub.training.weights.methods import attach

if TYPE_CHECKING:
    import torch

__all__ = ["budget_of", "empty_model"]

# Bytes a weight that bitsandbytes quantized, its scales included (a float32 for 64 weights at 4 bits).
_QUANTIZED = {"4bit": 0.5625, "8bit": 1.0}


def empty_model(config: RecipeConfig, prepared: Prepared, precision: torch.dtype) -> Any:
    """The recipe's model on the meta device, every parameter of the type and size that it will have."""
    import torch

    bare = shape_of(prepared.folder)
    if config.adapter.kind == "full":
        return bare.float()
    bare.to(precision).requires_grad_(False)
    _quantize(bare, config.training.quantization)
    model = attach(bare, config, empty=True)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.to(torch.float32)
    return model


def budget_of(
    config: RecipeConfig,
    prepared: Prepared,
    device: torch.device,
    longest: Sequence[Encoded],
    *,
    fused: bool = False,
) -> tuple[Budget, torch.dtype, int]:
    """Budget, precision of the passes and workers of a run on this device, as far as the config tells."""
    precision = precision_for(config.training, device)
    model = empty_model(config, prepared, precision)
    budget = budget_for(model, config.training, device, longest, fused=fused)
    return budget, precision, worker_count(model, config.training, device)


def _quantize(model: Any, kind: str) -> None:
    """Put as many bytes as the quantized weights will take where the linear layers have theirs."""
    import torch

    if kind == "none":
        return
    head = model.get_output_embeddings()
    for module in model.modules():
        if isinstance(module, torch.nn.Linear) and module is not head:
            size = round(_QUANTIZED[kind] * module.weight.numel())
            module.weight.data = torch.empty(size, dtype=torch.uint8, device="meta")
