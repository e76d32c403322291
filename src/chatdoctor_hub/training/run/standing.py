"""`Standing`: what is known of a run after a step; JSON can hold it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from chatdoctor_hub.training.passes import Passes

__all__ = ["Standing"]


@dataclass
class Standing:
    """How far a run has come.

    Args:
        step: how many steps were done.
        tokens: that went through the model in training.
        seconds: of the run, when this was last written.
        records: one a step.
        validation_loss: the last one, nats a learned token.
        best_loss, best_step: the lowest, and after how many steps.
        waited: validations since the lowest.
        stopped_early: whether that were too many.
        precision, workers, flat, fused, why: of the passes.
    """

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0
    records: list[dict[str, float]] = field(default_factory=list)
    validation_loss: float | None = None
    best_loss: float | None = None
    best_step: int | None = None
    waited: int = 0
    stopped_early: bool = False
    precision: str = "float32"
    workers: int = 1
    flat: bool = False
    fused: bool = False
    why: str = ""

    def describe(self, passes: Passes) -> None:
        """Take down how the passes are made."""
        self.precision = str(passes.precision).removeprefix("torch.")
        self.workers, self.flat, self.fused, self.why = passes.workers, passes.flat, passes.fused, passes.why

    def judge(self, loss: float, patience: int | None) -> bool:
        """Take down a validation loss; whether it is the lowest so far."""
        self.validation_loss = loss
        if self.best_loss is None or loss < self.best_loss:
            self.best_loss, self.best_step, self.waited = loss, self.step, 0
            return True
        self.waited += 1
        self.stopped_early = patience is not None and self.waited >= patience
        return False

    def to_record(self) -> dict[str, Any]:
        """Its values, for JSON."""
        return asdict(self)
