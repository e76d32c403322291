"""Copies of a model's modules that share its weights and have gradients of their own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["cast_weights", "refresh", "twin"]


def twin(model: Any, casts: Mapping[int, torch.Tensor] | None = None) -> Any:
    """A copy of the module that shares every weight and buffer but has gradients of its own.

    Args:
        model: not wrapped by DDP, nor sharded.
        casts: by the id of a parameter, what the copy has in its place (see `cast_weights`).
    """
    import torch

    casts = casts or {}
    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        if parameter.requires_grad or id(parameter) in casts:
            data = casts.get(id(parameter), parameter.data)
            memo[id(parameter)] = torch.nn.Parameter(data, requires_grad=parameter.requires_grad)
        else:
            memo[id(parameter)] = parameter  # quantized ones hold more than their data
    return copy.deepcopy(model, memo)


def cast_weights(model: Any, dtype: torch.dtype, *, adapters: bool) -> dict[int, torch.Tensor]:
    """Copies in `dtype` of the float32 parameters, by their id.

    Buffers are left alone: rotary frequencies that are rounded lose what makes positions differ.

    Args:
        model: whose parameters.
        dtype: of the passes.
        adapters: copy the trainable parameters of an adapter too; those of a model without one always are.
    """
    import torch

    trained_too = adapters or not hasattr(model, "peft_config")
    return {
        id(parameter): parameter.detach().to(dtype)
        for parameter in model.parameters()
        if parameter.dtype == torch.float32
        and parameter.dtype != dtype
        and (trained_too or not parameter.requires_grad)
    }


def refresh(model: Any, casts: Mapping[int, torch.Tensor]) -> None:
    """Copy the trainable parameters into their casts again, after a step has changed them."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and id(parameter) in casts:
                casts[id(parameter)].copy_(parameter)
