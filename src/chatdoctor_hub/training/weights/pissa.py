"""PiSSA (arXiv 2404.02948): an adapter that took its start out of the base, made one for the base as it was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["PissaStart", "on_the_original_base"]


class PissaStart:
    """The matrices A and B that PiSSA started from, kept beside the model they belong to.

    Copies of the model for other threads share it.

    Args:
        state: by the names under which PEFT saves them.
    """

    def __init__(self, state: Mapping[str, torch.Tensor]) -> None:
        self.state = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> PissaStart:
        return self


def on_the_original_base(state: Mapping[str, torch.Tensor], start: PissaStart) -> dict[str, torch.Tensor]:
    """The same update as a LoRA of twice the rank: B A - B0 A0 = [B, -B0] [A; A0]."""
    import torch

    made = {}
    for name, tensor in state.items():
        before = start.state[name].to(tensor)
        made[name] = (
            torch.cat((tensor, before), dim=0) if ".lora_A." in name else torch.cat((tensor, -before), dim=1)
        )
    return made
