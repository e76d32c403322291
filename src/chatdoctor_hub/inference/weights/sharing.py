"""Several models over the same weights: module trees of their own, tensors in common."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

__all__ = ["twin_of"]

_OWN = ("_parameters", "_buffers", "_non_persistent_buffers_set", "_modules")


def twin_of(model: Any, own: Collection[str] = ()) -> Any:
    """A model with the same weights in memory, whose modules can be replaced without changing the first.

    That is what an adapter does to a model. Each adapter in a twin of its own needs no switching, and threads
    that use different ones cannot get in each other's way; the twin of an 8B model takes about a megabyte.

    Args:
        model: a module; it must have no accelerate hooks, which are bound to its own modules.
        own: names of parameters that the twin gets copies of, since something will write into them.
    """
    from torch import nn

    copied = {id(model.get_parameter(name)) for name in own}
    modules: dict[int, nn.Module] = {}
    parameters: dict[int, nn.Parameter] = {}

    def parameter(first: nn.Parameter | None) -> nn.Parameter | None:
        # Quantized weights carry a state of their own, and nobody writes into them.
        if first is None or type(first) is not nn.Parameter:
            return first
        if id(first) not in parameters:
            data = first.data.clone() if id(first) in copied else first.data
            # A new object over the same memory: methods such as PiSSA put other data into it.
            parameters[id(first)] = nn.Parameter(data, requires_grad=False)
        return parameters[id(first)]

    def module(first: nn.Module | None) -> nn.Module | None:
        if first is None:
            return None
        if id(first) in modules:
            return modules[id(first)]
        twin = first.__class__.__new__(first.__class__)
        modules[id(first)] = twin
        state = first.__dict__
        twin.__dict__.update(
            {name: value.copy() if _is_hooks(name, value) else value for name, value in state.items()}
        )
        # Weights that are tied stay tied, and a module that stands in two places still does.
        twin.__dict__["_parameters"] = {
            name: parameter(value) for name, value in state["_parameters"].items()
        }
        twin.__dict__["_modules"] = {name: module(value) for name, value in state["_modules"].items()}
        return twin

    return module(model)


def _is_hooks(name: str, value: Any) -> bool:
    """Dictionaries and sets that PyTorch keeps for each module."""
    return name in _OWN or ("_hooks" in name and hasattr(value, "copy"))
