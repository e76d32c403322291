"""Puts the fused layers into a model, and takes them out again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.blocks import FusedBlock, blocks_in, siblings_in
from chatdoctor_hub.training.passes.fused.layers import FusedSiblings, WithBranch
from chatdoctor_hub.training.passes.fused.sites import (
    NotFusedError,
    branch_of,
    is_on_input,
    is_series,
    site_of,
)

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["FusedHead", "FusedModel", "join_siblings"]


class FusedModel:
    """A model some of whose modules have another `forward` until `undo`.

    Args:
        model: changed in place.
        dtype: of the passes.
        flat: whether batches lie flat; blocks are fused for these only, and on a CPU.

    Attributes:
        keeps: whether the last block gives the kept positions of a flat batch alone.

    Raises:
        NotFusedError: saying why nothing could be fused; the model is then as it was.
    """

    def __init__(self, model: Any, dtype: torch.dtype, *, flat: bool) -> None:
        self._parts: list[Any] = []
        self._patched: list[Any] = []
        layers = [module for module in model.modules() if hasattr(module, "base_layer")]
        if not layers:
            raise NotFusedError("no layer is adapted")
        made = [*self._blocks(model, dtype)] if flat and model.device.type == "cpu" else []
        self.keeps = _ends_fused(model, made)
        covered = {id(inner) for block, _ in made for inner in block.modules()}
        rest = [layer for layer in layers if id(layer) not in covered]
        self._linears = [*_linears(model, rest, dtype)]
        for block, part in made:
            self._patch(block, part)
            self._parts.append(part)
        for modules, part, forwards in self._linears:
            self._parts.append(part)
            for module, forward in zip(modules, forwards, strict=True):
                self._patch(module, forward)

    @staticmethod
    def _blocks(model: Any, dtype: torch.dtype) -> Iterator[tuple[Any, FusedBlock]]:
        for block in blocks_in(model):
            try:
                yield block, FusedBlock(block, dtype)
            except NotFusedError:
                continue  # its layers are fused one by one

    def _patch(self, module: Any, forward: Callable[..., Any]) -> None:
        module.forward = forward
        self._patched.append(module)

    def refresh(self) -> None:
        """Take the values of the adapters' parameters over, after a step has changed them."""
        for part in self._parts:
            part.refresh()

    def undo(self) -> None:
        """Give every module its own forward back."""
        while self._patched:
            del self._patched.pop().forward


def _ends_fused(model: Any, made: Sequence[tuple[Any, FusedBlock]]) -> bool:
    """Whether the block behind which there is no other is fused; it is told."""
    if not made or made[-1][0] is not list(blocks_in(model))[-1]:
        return False
    made[-1][1].last = True
    return True


class FusedHead:
    """A head whose layer is passed over, so that the model gives what the head gets instead of logits.

    Args:
        layer: the head.
    """

    def __init__(self, layer: torch.nn.Linear) -> None:
        self._layer = layer
        self.weight = layer.weight.detach()
        setattr(layer, "forward", _unchanged)  # noqa: B010

    @classmethod
    def of(cls, model: Any, dtype: torch.dtype) -> FusedHead | None:
        """The head of a model where it is a frozen linear layer without a bias; else None."""
        layer = model.get_output_embeddings()
        plain = type(layer) is torch.nn.Linear and layer.bias is None
        if not plain or layer.weight.requires_grad or layer.weight.dtype != dtype:
            return None
        return cls(layer)

    def undo(self) -> None:
        """Let the head work again."""
        del self._layer.forward


def _unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


Part = tuple[list[Any], Any, list[Callable[..., Any]]]


def _linears(model: Any, layers: Sequence[Any], dtype: torch.dtype) -> Iterator[Part]:
    """Modules, what stands for them, and their new forward passes."""
    left = {id(layer): layer for layer in layers}
    for siblings in siblings_in(model):
        if all(
            type(getattr(item, "base_layer", item)) is torch.nn.Linear and not is_series(item)
            for item in siblings
        ) and any(id(item) in left for item in siblings):
            sites = [site_of(item, dtype) for item in siblings]
            part = FusedSiblings(sites, [item.forward for item in siblings])
            yield siblings, part, [partial(part.call, number) for number in range(len(siblings))]
            for item in siblings:
                left.pop(id(item), None)
    for layer in left.values():
        if type(layer.base_layer) is torch.nn.Linear and not is_on_input(layer):
            part = FusedSiblings([site_of(layer, dtype)], [layer.forward])
            yield [layer], part, [partial(part.call, 0)]
        else:
            around = WithBranch(layer, branch_of(layer, dtype))
            yield [layer], around, [around]


def join_siblings(model: Any, casts: dict[int, torch.Tensor]) -> Callable[[], None]:
    """Lay the frozen weights of layers that read the same input behind each other in memory.

    They are then multiplied at once without being held twice: the parameters become views.

    Args:
        model: its parameters, or their copies in `casts`, are changed in place.
        casts: copies in another precision, by the id of the parameter.

    Returns:
        What gives each parameter a memory of its own again.
    """
    views: list[torch.Tensor] = []
    for siblings in siblings_in(model):
        bases = [getattr(item, "base_layer", item) for item in siblings]
        weights = [base.weight for base in bases if type(base) is torch.nn.Linear]
        sources = [casts.get(id(weight), weight.data) for weight in weights]
        alike = {(source.shape[1], source.dtype) for source in sources}
        if len(weights) < len(bases) or len(alike) > 1 or any(weight.requires_grad for weight in weights):
            continue
        whole = torch.cat(sources)
        for weight, part in zip(
            weights, whole.split_with_sizes([len(source) for source in sources]), strict=True
        ):
            if id(weight) in casts:
                casts[id(weight)] = part
            else:
                weight.data = part
                views.append(weight)

    def part_again() -> None:
        for weight in views:
            weight.data = weight.data.clone()

    return part_again
