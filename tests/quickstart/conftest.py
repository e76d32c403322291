"""The main job on a tiny scale: the same seven steps in seconds."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
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
        hidden_size=32,
        layers=1,
        heads=2,
        mlp_size=64,
        context=512,
        training=TrainingConfig(optimizer="muon", lr=0.03, epochs=epochs, **fixed),
    )
    small: dict[str, Any] = {"synthetic": 120, "small_talk": 20, "safety": 40, "overlap_answers": 4, "tiny": tiny}
    tuning = TrainingConfig(epochs=0.5, lr=5e-3, **fixed)
    return QuickstartSettings(**{"out": out, "training": tuning, **small, **changes})


def perform(settings: QuickstartSettings) -> Done:
    printed = io.StringIO()
    quickstart(settings, Console(file=printed, width=200))
    return Done(settings.out, printed.getvalue(), settings)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Trained for long enough that answers, and so the figures, differ. Not to be changed; see `copied`."""
    return perform(settings_for(tmp_path_factory.mktemp("jobs") / "quickstart", epochs=15.0))


@pytest.fixture
def copied(done: Done, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the finished job's folder to do as one likes with."""
    return lambda: Path(shutil.copytree(done.out, tmp_path / "quickstart"))
