"""The precision of the passes: what the device multiplies fastest."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from chatdoctor_hub.training.recipe import TrainingConfig

if TYPE_CHECKING:
    import torch

__all__ = ["bfloat16_pays", "precision_for"]


def precision_for(settings: TrainingConfig, device: torch.device) -> torch.dtype:
    """The dtype that frozen weights are loaded in and that the passes run in; speed "exact" means float32."""
    import torch

    if settings.precision != "auto":
        return torch.bfloat16 if settings.precision == "bfloat16" else torch.float32
    if settings.speed == "exact":
        return torch.float32
    return torch.bfloat16 if bfloat16_pays(torch.device(device)) else torch.float32


def bfloat16_pays(device: torch.device) -> bool:
    """Whether matrix products are at least 1.5 times faster in bfloat16 than in float32 on this device."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    took = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 1024, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        took[dtype] = min(times)
    return took[torch.float32] > 1.5 * took[torch.bfloat16]
