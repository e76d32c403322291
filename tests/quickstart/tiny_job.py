"""The main job on a tiny scale: the same seven steps in seconds."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from chatdoctor_hub.quickstart import QuickstartSettings, quickstart
from chatdoctor_hub.training import TinyBaseConfig, TrainingConfig

STEPS = ("knowledge", "corpus", "base", "tuning", "test", "release", "chat")


@dataclass(frozen=True)
class Done:
    """A finished job: its folder, what it printed, and how it was set."""

    out: Path
    printed: str
    settings: QuickstartSettings

    @property
    def reused(self) -> list[bool]:
        """Of each step, whether it said that it was done before."""
        parts = self.printed.split("/7 ")[1:]
        return ["done before with the same inputs" in part for part in parts]


def settings_for(out: Path, epochs: float, **changes: Any) -> QuickstartSettings:
    # One thread and one precision: what is made depends on nothing but the inputs.
    fixed: dict[str, Any] = {"batch_size": 8, "precision": "float32", "workers": 1}
    tiny = TinyBaseConfig(
        vocabulary=600,
        hidden_size=64,
        layers=1,
        heads=2,
        mlp_size=128,
        context=512,
        training=TrainingConfig(optimizer="muon", lr=0.05, **fixed),
    )
    small: dict[str, Any] = {
        "synthetic": 120,
        "small_talk": 20,
        "safety": 40,
        "overlap_answers": 4,
        "tiny": tiny,
        "base_epochs": epochs,
    }
    tuning = TrainingConfig(epochs=0.5, lr=5e-3, checkpoints=0, **fixed)
    return QuickstartSettings(**{"out": out, "training": tuning, **small, **changes})


def perform(settings: QuickstartSettings) -> Done:
    printed = io.StringIO()
    quickstart(settings, Console(file=printed, width=200))
    return Done(settings.out, printed.getvalue(), settings)


def weights_of(folder: Path) -> bytes:
    """The weights of a small model."""
    return (folder / "model.safetensors").read_bytes()


def merged_weights(job: Path, out: Path) -> bytes:
    """What the release of a job must hold: its run, merged by hand into `out`."""
    from chatdoctor_hub.training import merge_run

    merge_run(job / "tuning", out)
    return weights_of(out)
