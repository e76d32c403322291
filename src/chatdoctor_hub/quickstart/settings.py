"""What a quickstart is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chatdoctor_hub.training import TinyBaseConfig, TrainingConfig

__all__ = ["FREE_BYTES", "QUESTIONS", "QuickstartSettings"]

QUESTIONS = (
    "It burns when I pee and I have to run to the toilet all the time. What could it be?",
    "I have had a stuffy nose, sneezing and itchy eyes for two weeks. What should I do?",
    "My heartburn is worse after big meals and when I lie down at night. Is there something I can take?",
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
        safety: harmful and harmless requests to draw for the tiny base; as many of each are used.
        tiny: shape and schedule of the tiny base.
        base_epochs: passes that train it; None: 2 over dialogues written from the table, which are longer
            and whose wording is soon learned, and 3 over others.
        training: schedule of the tuning.
        overlap_answers: held-out questions that are answered for the overlap scores.
    """

    out: Path = Path("runs/quickstart")
    knowledge: Path | None = None
    dialogues: Path | None = None
    base: str | None = None
    seed: int = 0
    synthetic: int = 1800
    small_talk: int = 300
    safety: int = 1000
    tiny: TinyBaseConfig = TinyBaseConfig()
    base_epochs: float | None = None
    training: TrainingConfig = TrainingConfig(epochs=1.0, lr=2e-3, token_budget=2048)
    overlap_answers: int = 60

    @property
    def tiny_base(self) -> TinyBaseConfig:
        """Shape and schedule of the tiny base for these dialogues."""
        epochs = self.base_epochs or (3.0 if self.dialogues else 2.0)
        training = self.tiny.training.model_copy(update={"epochs": epochs})
        return self.tiny.model_copy(update={"seed": self.seed, "training": training})
