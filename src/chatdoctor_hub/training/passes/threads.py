"""How many threads work on a step, and how many cores each has for the operations inside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.recipe import TrainingConfig

if TYPE_CHECKING:
    import torch

__all__ = ["draws", "one_thread_each", "threads_for", "worker_count"]

# Settings of classifiers, which a causal language model does not have.
_OTHER_HEADS = ("classifier_", "summary_")


def worker_count(model: Any, settings: TrainingConfig, device: torch.device) -> int:
    """Threads for the passes: one a core, but one for a model that draws random numbers and on a GPU."""
    if device.type != "cpu" or draws(model):
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.workers or min(cores, 8)


def draws(model: Any) -> bool:
    """Whether the model drops activations at random: threads share a generator, and race for its numbers."""
    import torch

    said = (
        value
        for name, value in model.config.to_dict().items()
        if "drop" in name and not name.startswith(_OTHER_HEADS)
    )
    return any(isinstance(value, float) and value > 0 for value in said) or any(
        isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules()
    )


@contextmanager
def one_thread_each(workers: int) -> Iterator[None]:
    """Give every worker an equal share of the cores for the operations inside it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """One thread for a model whose operations are too short to be shared between cores (under 50 M parameters)."""
    import torch

    small = sum(parameter.numel() for parameter in model.parameters()) < 50_000_000
    with one_thread_each(torch.get_num_threads() if small else 1):
        yield
