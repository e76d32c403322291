"""Adapted layers of any architecture, each one step of the graph; siblings that read one input together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.branches import Branch
from chatdoctor_hub.training.passes.fused.products import Products
from chatdoctor_hub.training.passes.fused.sites import Site, is_on_input, is_series

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["FusedSiblings", "WithBranch"]


class _ProductsFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, products: Products, x: torch.Tensor, *_: torch.Tensor) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        y, saved = products.forward(rows)
        ctx.set_materialize_grads(False)
        ctx.products, ctx.saved, ctx.shape = products, saved, x.shape
        ctx.save_for_backward(rows)
        return tuple(part.view(*x.shape[:-1], -1) for part in y.split_with_sizes(products.sizes, 1))

    @staticmethod
    def backward(ctx: Any, *dys: torch.Tensor | None) -> Any:
        (rows,) = ctx.saved_tensors
        parts = [None if dy is None else dy.reshape(-1, dy.shape[-1]) for dy in dys]
        whole = parts[0] if len(parts) == 1 else None
        dx, found = ctx.products.backward(
            parts if whole is None else whole, rows, ctx.saved, further=ctx.needs_input_grad[1]
        )
        return None, None if dx is None else dx.view(ctx.shape), *found


class FusedSiblings:
    """Linear layers that a model calls one after the other with the same input; all are worked out at the first.

    Args:
        sites: the layers.
        owns: their own forward passes, used while the adapter is off.
    """

    def __init__(self, sites: Sequence[Site], owns: Sequence[Any]) -> None:
        self._sites, self._owns = sites, owns
        after = sites[0].branch if is_series(sites[0].layer) else None
        self._products = Products(
            [site.weight for site in sites],
            [site.bias for site in sites],
            [None if after else site.branch for site in sites],
            after,
        )
        self._read: Any = None
        self._waiting: dict[int, torch.Tensor] = {}

    def refresh(self) -> None:
        """Take the values of the branches' parameters over."""
        self._products.refresh()

    def call(self, number: int, x: torch.Tensor, *args: Any, **more: Any) -> Any:
        """What layer `number` gives for x, (..., d)."""
        if any(site.off for site in self._sites):
            return self._owns[number](x, *args, **more)
        if self._read is x and number in self._waiting:
            given = self._waiting.pop(number)
        else:
            made = _ProductsFunction.apply(self._products, x, *self._products.masters)  # type: ignore[no-untyped-call]
            self._waiting = dict(enumerate(made))
            given, self._read = self._waiting.pop(number), x
        if not self._waiting:
            self._read = None
        return given


class _BranchFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, branch: Branch, base: torch.Tensor, x: torch.Tensor, *_: torch.Tensor) -> Any:
        rows = x.reshape(-1, x.shape[-1])
        z, a = branch.taken(rows)
        ctx.branch, ctx.shape = branch, x.shape
        ctx.save_for_backward(rows, z, a)
        return torch.addmm(base.reshape(-1, base.shape[-1]), a, branch.up.T).view(base.shape)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        rows, z, a = ctx.saved_tensors
        dz, found = ctx.branch.gradients(dy.reshape(-1, dy.shape[-1]), rows, z, a)
        dx = (dz @ ctx.branch.down).view(ctx.shape) if ctx.needs_input_grad[2] else None
        return None, dy, dx, *found


class WithBranch:
    """A bottleneck before, behind or beside a module of any kind.

    Args:
        layer: of `chatdoctor_hub.adapters`.
        branch: its bottleneck.
    """

    def __init__(self, layer: Any, branch: Branch) -> None:
        self._layer, self._branch, self._own = layer, branch, layer.forward

    def refresh(self) -> None:
        """Take the values of the branch's parameters over."""
        self._branch.refresh()

    def __call__(self, x: torch.Tensor, *args: Any, **more: Any) -> Any:
        """As the layer's own forward."""
        layer = self._layer
        if layer.disable_adapters or layer.merged:
            return self._own(x, *args, **more)
        if is_on_input(layer):
            return layer.base_layer(self._add(x, x), *args, **more)
        given = layer.base_layer(x, *args, **more)
        hidden, rest = (given[0], given[1:]) if isinstance(given, tuple) else (given, None)
        hidden = self._add(hidden, hidden if is_series(layer) else x)
        return hidden if rest is None else (hidden, *rest)

    def _add(self, base: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        given: torch.Tensor = _BranchFunction.apply(self._branch, base, x, *self._branch.masters)  # type: ignore[no-untyped-call]
        return given
