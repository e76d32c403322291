"""What an adapted linear layer consists of, read from PEFT's layers and ours, or why it cannot be fused."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.branches import ACTIVATIONS, Branch

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["NotFusedError", "Site", "branch_of", "is_on_input", "is_series", "site_of"]


class NotFusedError(Exception):
    """A layer keeps its own forward pass; the message says why. It never leaves the passes."""


@dataclass(frozen=True)
class Site:
    """A linear layer, adapted or not.

    Args:
        weight: (o, d), frozen.
        bias: (o,), frozen, or None.
        branch: beside the layer, behind it where the adapter is a series one (`is_series`), or None.
        layer: the adapter's layer, which may be switched off, or None.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None
    branch: Branch | None
    layer: Any

    @property
    def off(self) -> bool:
        """Whether the adapter is switched off, as in PEFT's `disable_adapter`, or merged."""
        return self.layer is not None and bool(self.layer.disable_adapters or self.layer.merged)


def is_series(layer: Any) -> bool:
    """Whether an adapter's layer is a series adapter."""
    return type(layer).__name__ == "SeriesLayer"


def is_on_input(layer: Any) -> bool:
    """Whether it is one before the layer."""
    return is_series(layer) and any(
        layer.configs[name].position == "input" for name in layer.active_adapters if name in layer.configs
    )


def site_of(module: Any, dtype: torch.dtype) -> Site:
    """Read a linear layer.

    Raises:
        NotFusedError: for an adapter, a bias or a layer that this does not know.
    """
    base = module.base_layer if hasattr(module, "base_layer") else module
    if type(base) is not torch.nn.Linear:
        raise NotFusedError(f"a layer is a {type(base).__name__}")
    if base.weight.dtype != dtype:
        raise NotFusedError(f"weights are {base.weight.dtype}".replace("torch.", ""))
    if any(parameter.requires_grad for parameter in base.parameters()):
        raise NotFusedError("weights of the base are trained")
    if base is module:
        return Site(base.weight, base.bias, None, None)
    if is_on_input(module):
        raise NotFusedError("a series adapter is on the input")
    return Site(base.weight, base.bias, branch_of(module, dtype), module)


def branch_of(layer: Any, dtype: torch.dtype) -> Branch:
    """The low-rank part of an adapter's layer.

    Raises:
        NotFusedError: for an adapter that this does not know.
    """
    kind, home = type(layer).__name__, type(layer).__module__
    own = kind in ("ParallelLayer", "SeriesLayer") and home.startswith("chatdoctor_hub.adapters")
    if not own and not (kind == "Linear" and home.startswith("peft.tuners.lora")):
        raise NotFusedError(f"the adapter is a {kind} of {home.rpartition('.')[0]}")
    names = [name for name in layer.active_adapters if name in (layer.down if own else layer.lora_A)]
    if len(names) != 1:
        raise NotFusedError(f"{len(names)} adapters are active at once")
    return _bottleneck(layer, names[0], dtype) if own else _lora(layer, names[0], dtype)


def _lora(layer: Any, name: str, dtype: torch.dtype) -> Branch:
    if name in layer.lora_variant:
        raise NotFusedError(f"LoRA has the variant {type(layer.lora_variant[name]).__name__}")
    if layer.lora_bias[name]:
        raise NotFusedError("LoRA has a bias")
    _check_dropout(layer.lora_dropout[name])
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    return Branch(down, up, float(layer.scaling[name]), "identity", dtype)


def _bottleneck(layer: Any, name: str, dtype: torch.dtype) -> Branch:
    config = layer.configs[name]
    if config.activation not in ACTIVATIONS:
        raise NotFusedError(f"the activation is {config.activation}")
    _check_dropout(layer.dropouts[name])
    return Branch(layer.down[name].weight, layer.up[name].weight, layer.scale(name), config.activation, dtype)


def _check_dropout(dropout: Any) -> None:
    if isinstance(dropout, torch.nn.Dropout) and dropout.p > 0:
        raise NotFusedError("the adapter has dropout")
