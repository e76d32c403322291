"""The optimizer of a run: AdamW, or Muon for matrices and AdamW for the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.recipe import TrainingConfig

if TYPE_CHECKING:
    import torch

__all__ = ["SideBySide", "optimizer_for", "parts_of"]


def optimizer_for(model: Any, settings: TrainingConfig, workers: int) -> torch.optim.Optimizer:
    """An optimizer for the trainable parameters of `model`.

    Args:
        model: not wrapped.
        settings: optimizer, lr, betas, epsilon, weight_decay.
        workers: threads that may work side by side.
    """
    import torch

    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    chosen = [
        settings.optimizer == "muon" and parameter.ndim == 2 and "embed" not in name and "lm_head" not in name
        for name, parameter in named
    ]
    matrices = [parameter for (_, parameter), is_chosen in zip(named, chosen, strict=True) if is_chosen]
    others = [parameter for (_, parameter), is_chosen in zip(named, chosen, strict=True) if not is_chosen]
    # One Muon a worker: orthogonalising is the costly part of a step, and each matrix stands alone.
    shares = [share for share in (matrices[number::workers] for number in range(workers)) if share]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(share, lr=settings.lr, weight_decay=settings.weight_decay, momentum=0.95)
        for share in shares
    ]
    if others or not optimizers:
        optimizers.append(_adamw(others, settings, beside_muon=bool(matrices)))
    if len(optimizers) == 1:
        return optimizers[0]
    made: torch.optim.Optimizer = type("SideBySide", (SideBySide, torch.optim.Optimizer), {})(optimizers)
    return made


def _adamw(
    parameters: list[torch.nn.Parameter], settings: TrainingConfig, *, beside_muon: bool
) -> torch.optim.Optimizer:
    import torch

    return torch.optim.AdamW(
        parameters,
        # Muon's rate is for orthogonal updates; vectors and embeddings want a quarter of it under AdamW.
        lr=settings.lr / 4 if beside_muon else settings.lr,
        betas=settings.betas,
        eps=settings.epsilon,
        weight_decay=0.0 if beside_muon else settings.weight_decay,
        fused=all(parameter.device.type in ("cpu", "cuda") for parameter in parameters),
    )


class SideBySide:
    """Several optimizers that look like one and step in threads of their own.

    It has no base here, so that this module needs no torch; `optimizer_for` makes it a torch Optimizer.

    Args:
        optimizers: of parameters that differ.
    """

    defaults: dict[str, Any]

    def __init__(self, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        self.optimizers = list(optimizers)
        self.defaults = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all of them, in their order."""
        return [group for optimizer in self.optimizers for group in optimizer.param_groups]

    @property
    def state(self) -> dict[torch.Tensor, Any]:
        """What all of them keep for each parameter."""
        return {key: kept for optimizer in self.optimizers for key, kept in optimizer.state.items()}

    def step(self, closure: Callable[[], float] | None = None) -> None:
        """Take a step in each."""
        with ThreadPoolExecutor(len(self.optimizers), thread_name_prefix="chatdoctor-optimizer") as pool:
            list(pool.map(lambda optimizer: optimizer.step(), self.optimizers))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all of them."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Those of all of them."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        for optimizer, state in zip(self.optimizers, state_dict["optimizers"], strict=True):
            optimizer.load_state_dict(state)


def parts_of(optimizer: Any) -> list[torch.optim.Optimizer]:
    """The optimizers that hold state, inside what accelerate and `SideBySide` put around them."""
    if isinstance(optimizer, SideBySide):
        return optimizer.optimizers
    inner = getattr(optimizer, "optimizer", None)
    return [optimizer] if inner is None else parts_of(inner)
