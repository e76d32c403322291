"""Pictures of a run, drawn from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chatdoctor_hub.training.run.plot import draw_run

__all__ = ["draw_loss"]


def draw_loss(records: Sequence[Mapping[str, float]], file: Path, title: str) -> None:
    """The picture of a release's run; see `draw_run`."""
    draw_run(records, file, title)
