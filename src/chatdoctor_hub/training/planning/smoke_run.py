"""`smoke`: two optimizer steps on the longest dialogues of a recipe, to see whether it runs at all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data import Encoded
from chatdoctor_hub.training.planning.footprint import budget_of
from chatdoctor_hub.training.planning.prepared import prepare
from chatdoctor_hub.training.planning.trials import device_of_runs, trial
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.run import extremes

if TYPE_CHECKING:
    import torch

__all__ = ["SmokeReport", "smoke"]

_STEPS = 2


@dataclass(frozen=True)
class SmokeReport:
    """What two steps on the longest dialogues took.

    Args:
        dialogues: of a step.
        tokens: of a step.
        longest: tokens of the longest dialogue.
        losses: mean loss of each step, nats a learned token; the steps are on the same dialogues.
        seconds: of each step, the first with what is set up once.
        peak_bytes: held at most; on a CPU by the whole process since it began; None where it is not known.
        estimated_bytes: what `plan` would have said.
        device, precision, workers, fused, why_not_fused: of the passes.
    """

    dialogues: int
    tokens: int
    longest: int
    losses: tuple[float, ...]
    seconds: tuple[float, ...]
    peak_bytes: int | None
    estimated_bytes: int
    device: str
    precision: str
    workers: int
    fused: bool
    why_not_fused: str

    def to_record(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "steps": len(self.losses),
            "dialogues_a_step": self.dialogues,
            "tokens_a_step": self.tokens,
            "longest": self.longest,
            "first_loss": self.losses[0],
            "last_loss": self.losses[-1],
            "first_step_seconds": self.seconds[0],
            "last_step_seconds": self.seconds[-1],
            "tokens_a_second": self.tokens / max(1e-9, self.seconds[-1]),
            "peak_bytes": self.peak_bytes,
            "estimated_peak_bytes": self.estimated_bytes,
            "device": self.device,
            "precision": self.precision,
            "workers": self.workers,
            "fused": self.fused,
            "why_not_fused": self.why_not_fused or "-",
        }


def smoke(config: RecipeConfig, *, on_progress: Callable[[int], None] | None = None) -> SmokeReport:
    """Make two optimizer steps on the longest dialogues; nothing is kept.

    What these do not break (memory, precision, the adapter on this base) a run will not break either.

    Args:
        config: the recipe.
        on_progress: called with the number of dialogues read so far.

    Raises:
        MissingExtraError, UnknownPromptError, ModelNotFoundError, ModelFormatError, ConfigError, PurityError,
        DataNotFoundError, DataFormatError: as `fine_tune` would, before weights are loaded.
        TrainingError: when a loss or gradient is not finite, or memory does not suffice.
    """
    prepared = prepare(config, on_progress=on_progress)
    training = prepared.data.training
    batch = _longest(training, config.training.batch_size)
    device = device_of_runs()
    _forget_peak(device)
    with trial(config, prepared, extremes(training)) as tried:
        results = [tried.step(batch) for _ in range(_STEPS)]
        passes = tried.passes
        peak = _peak(device)
        fused, why, workers = passes.fused, passes.why, passes.workers
        precision = str(passes.precision).removeprefix("torch.")
    budget, _, _ = budget_of(config, prepared, device, batch, fused=fused)
    return SmokeReport(
        dialogues=len(batch),
        tokens=sum(len(sample) for sample in batch),
        longest=len(batch[0]),
        losses=tuple(loss for loss, _ in results),
        seconds=tuple(seconds for _, seconds in results),
        peak_bytes=peak,
        estimated_bytes=budget.peak_bytes,
        device=str(device),
        precision=precision,
        workers=workers,
        fused=fused,
        why_not_fused=why,
    )


def _longest(samples: Any, count: int) -> list[Encoded]:
    """The `count` longest, the longest first."""
    import numpy

    order = numpy.argsort(-samples.lengths.astype(numpy.int64), kind="stable")[:count]
    return [samples[int(number)] for number in order]


def _forget_peak(device: torch.device) -> None:
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int | None:
    import torch

    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    if device.type != "cpu":
        return None
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Kilobytes, but bytes on macOS.
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
