"""Pictures of a run, drawn from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chatdoctor_hub.errors import MissingExtraError

__all__ = ["draw_loss"]


def draw_loss(records: Sequence[Mapping[str, float]], file: Path, title: str) -> None:
    """Draw training and validation loss over the steps of a run into a PNG of 1000 x 600 pixels.

    Args:
        records: of `metrics.jsonl`: step, loss and, where measured, validation_loss (nats a token).
        file: to write.
        title: above the plot.

    Raises:
        MissingExtraError: without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "train") from error
    # The object interface: pyplot would change the caller's state.
    figure = Figure(figsize=(10, 6), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    steps = [record["step"] for record in records]
    axes.plot(
        steps, [record["loss"] for record in records], color="#9ecae1", lw=1, label="training, each step"
    )
    window = max(1, len(records) // 20)
    smooth = [
        sum(record["loss"] for record in records[max(0, at + 1 - window) : at + 1]) / min(window, at + 1)
        for at in range(len(records))
    ]
    axes.plot(steps, smooth, color="#08519c", lw=2, label=f"training, mean of {window} steps")
    measured = [record for record in records if "validation_loss" in record]
    if measured:
        axes.plot(
            [record["step"] for record in measured],
            [record["validation_loss"] for record in measured],
            color="#d94801",
            lw=2,
            marker="o",
            label="validation",
        )
    axes.set(xlabel="optimizer step", ylabel="loss (nats a token of the doctor's words)", title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(file, format="png")
