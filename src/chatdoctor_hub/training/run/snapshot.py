"""What a run is made of between two steps: trained weights, the optimizer's state, and random generators."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.run.optimizers import parts_of

if TYPE_CHECKING:
    import torch

__all__ = [
    "are_finite",
    "kept_randomness",
    "optimizer_state",
    "random_states",
    "restore_optimizer",
    "restore_random_states",
    "restore_weights",
    "trained_weights",
]


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """Copies of the trainable parameters by name, whole, on the CPU; every process with shards must ask."""
    return {name: _whole(parameter) for name, parameter in _trained(model)}


def restore_weights(model: Any, weights: Mapping[str, torch.Tensor]) -> None:
    """Put what `trained_weights` gave back into the model.

    Raises:
        ConfigError: when the names or shapes are not those of this model.
    """
    import torch

    expected = {name: parameter.shape for name, parameter in _trained(model)}
    if expected != {name: weight.shape for name, weight in weights.items()}:
        raise ConfigError(
            "Expected checkpoints of the model that is to be tuned, found those of another one; start afresh "
            "(fresh=True, or --fresh)."
        )
    with torch.no_grad():
        for name, parameter in _trained(model):
            parameter.copy_(_placed(weights[name], parameter))


def are_finite(model: Any) -> bool:
    """Whether all trained weights are numbers, as far as this process holds them."""
    return all(bool(_local(parameter).isfinite().all()) for _, parameter in _trained(model))


def optimizer_state(model: Any, optimizer: Any) -> dict[str, torch.Tensor]:
    """What the optimizer keeps, as `key:parameter`, whole, on the CPU; every process with shards must ask."""
    owners = _owners(optimizer)
    return {
        f"{key}:{name}": _whole(value)
        for name, parameter in _trained(model)
        for key, value in owners[id(parameter)].state.get(parameter, {}).items()
    }


def restore_optimizer(model: Any, optimizer: Any, kept: Mapping[str, torch.Tensor]) -> None:
    """Put what `optimizer_state` gave back into an optimizer of the same kind."""
    states: dict[str, dict[str, torch.Tensor]] = {}
    for label, value in kept.items():
        key, _, name = label.partition(":")
        states.setdefault(name, {})[key] = value
    owners = _owners(optimizer)
    for name, parameter in _trained(model):
        if name in states:
            owners[id(parameter)].state[parameter] = {
                key: _placed(value, parameter) for key, value in states[name].items()
            }


def random_states(device: Any) -> dict[str, Any]:
    """The states of the generators of Python, numpy, torch and, on a GPU, CUDA; JSON can hold them."""
    import numpy
    import torch

    version, numbers, spare = random.getstate()
    name, keys, *rest = numpy.random.get_state(legacy=True)
    states = {
        "python": [version, list(numbers), spare],
        "numpy": [name, numpy.asarray(keys).tolist(), *rest],
        "torch": _said(torch.get_rng_state()),
    }
    if torch.device(device).type == "cuda":
        states["cuda"] = _said(torch.cuda.get_rng_state(device))
    return states


def restore_random_states(states: Mapping[str, Any], device: Any) -> None:
    """Take up what `random_states` gave."""
    import numpy
    import torch

    version, numbers, spare = states["python"]
    random.setstate((version, tuple(numbers), spare))
    name, keys, *rest = states["numpy"]
    numpy.random.set_state((name, numpy.array(keys, dtype=numpy.uint32), *rest))
    torch.set_rng_state(_heard(states["torch"]))
    if "cuda" in states and torch.device(device).type == "cuda":
        torch.cuda.set_rng_state(_heard(states["cuda"]), device)


@contextmanager
def kept_randomness(device: Any) -> Iterator[None]:
    """Whatever is drawn inside, the generators are as before afterwards."""
    before = random_states(device)
    try:
        yield
    finally:
        restore_random_states(before, device)


def _trained(model: Any) -> list[tuple[str, torch.nn.Parameter]]:
    return [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]


def _owners(optimizer: Any) -> dict[int, torch.optim.Optimizer]:
    """By the id of a parameter, the optimizer that moves it."""
    return {
        id(parameter): part
        for part in parts_of(optimizer)
        for group in part.param_groups
        for parameter in group["params"]
    }


def _local(tensor: Any) -> torch.Tensor:
    local: torch.Tensor = tensor.to_local() if hasattr(tensor, "to_local") else tensor
    return local.detach()


def _whole(tensor: Any) -> torch.Tensor:
    """On the CPU, with memory of its own."""
    whole: torch.Tensor = tensor.detach()
    if hasattr(whole, "full_tensor"):
        whole = whole.full_tensor()
    return whole.to("cpu", copy=True).contiguous()


def _placed(value: torch.Tensor, like: Any) -> torch.Tensor:
    """On the device of a parameter, and in shards as it is."""
    value = value.to(like.device)
    if value.shape != like.shape or not hasattr(like, "device_mesh"):
        return value
    from torch.distributed.tensor import distribute_tensor

    placed: torch.Tensor = distribute_tensor(value, like.device_mesh, like.placements)
    return placed


def _said(state: torch.Tensor) -> str:
    return base64.b64encode(state.numpy().tobytes()).decode("ascii")


def _heard(said: str) -> torch.Tensor:
    import torch

    return torch.frombuffer(bytearray(base64.b64decode(said)), dtype=torch.uint8)
