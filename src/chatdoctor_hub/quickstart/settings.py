"""What a quickstart is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatdoctor_hub.training import TinyBaseConfig, TrainingConfig

__all__ = ["FREE_BYTES", "QUESTIONS", "QuickstartSettings"]

QUESTIONS = (
    "I have a burning feeling when I pee and a need to pee all the time. What could it be?",
    "I have had sneezing, a runny nose and itchy eyes for two weeks. What should I do?",
    "I have been having heartburn after meals and a sour taste in my mouth for a month. What can I take?",
)

FREE_BYTES = 300 * 1024 * 1024
"""What a run may write at most, with room to spare."""


@dataclass(frozen=True)
class QuickstartSettings:
    """Settings of the main job.

    Args:
        out: the folder for everything that is made.
        knowledge: a disease table (CSV); None takes the starter table.
        dialogues: a file of dialogues; None writes them from the table.
        base: folder or Hub id of a causal language model; None trains a tiny one.
        seed: of everything that is drawn.
        synthetic: dialogues to write from the table.
        small_talk: everyday dialogues for the tiny base.
        safety: harmful and harmless requests to draw for the tiny base; a quarter as many of
            the harmful ones are used.
        tiny: shape and schedule of the tiny base; its epochs and batch size are those of `tiny_base`.
        base_epochs: passes that train it; None: 2.4 over dialogues written from the table, which are longer
            and whose wording is soon learned, and 3 over others.
        training: schedule of the tuning.
        overlap_answers: held-out questions that are answered for the overlap scores.
    """

    out: Path = Path("runs/quickstart")
    knowledge: Path | None = None
    dialogues: Path | None = None
    base: str | None = None
    seed: int = 0
    synthetic: int = 1500
    small_talk: int = 300
    safety: int = 1000
    tiny: TinyBaseConfig = TinyBaseConfig()
    base_epochs: float | None = None
    training: TrainingConfig = TrainingConfig(epochs=1.0, lr=2e-3, token_budget=2048, checkpoints=0)
    overlap_answers: int = 40

    @property
    def tiny_base(self) -> TinyBaseConfig:
        """Shape and schedule of the tiny base for these dialogues."""
        # Dialogues from a file are shorter than written ones: about as many tokens make a step.
        epochs, batch_size = (3.0, 32) if self.dialogues else (2.4, 16)
        schedule = {"epochs": self.base_epochs or epochs, "batch_size": batch_size}
        training = self.tiny.training.model_copy(update=schedule)
        return self.tiny.model_copy(update={"seed": self.seed, "training": training})
