"""`draw_run`: the picture of a run, drawn from its records."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.proportion import Proportion

__all__ = ["draw_run"]

_POINTS = 2000  # of a curve; more cannot be told apart
_PALE, _BLUE, _ORANGE, _GREEN, _RED = "#9ecae1", "#08519c", "#d94801", "#238b45", "#a50f15"
_PROBES = {
    "harmful_refused": (_RED, "s", "harmful requests refused"),
    "harmless_answered": (_GREEN, "o", "harmless requests answered"),
}

Records = Sequence[Mapping[str, float]]


def draw_run(records: Records, file: Path, title: str) -> None:
    """Draw a run into a PNG 1000 pixels wide: loss, learning rate and, where they were asked, the probes.

    Validation loss and probes are marked where they were measured; a probe has its 95 % Wilson interval.
    The same records give the same bytes with the same matplotlib.

    Args:
        records: of `metrics.jsonl`: step, loss and, where there are any, lr, validation_loss (nats a token),
            harmful_refused and harmless_answered (shares of probe_n).
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
    drawn = [(_draw_loss, 4.0)]
    if any("lr" in record for record in records):
        drawn.append((_draw_rate, 1.4))
    if any(name in record for record in records for name in _PROBES):
        drawn.append((_draw_probes, 2.2))
    # The object interface: pyplot would change the caller's state.
    figure = Figure(figsize=(10, 6 if len(drawn) < 3 else 8), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    rows: Any = figure.subplots(
        len(drawn), 1, sharex=True, squeeze=False, height_ratios=[height for _, height in drawn]
    )[:, 0]
    for axes, (draw, _) in zip(rows, drawn, strict=True):
        draw(axes, records)
        axes.grid(alpha=0.3)
    rows[0].set_title(title, parse_math=False)
    rows[-1].set_xlabel("optimizer step")
    if len(records) < 2:
        rows[-1].set_xlim(0, 2)
    rows[-1].xaxis.get_major_locator().set_params(integer=True)
    with warnings.catch_warnings():
        # Of a name in a script that the plain font does not have.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="png", metadata={"Software": None})


def _draw_loss(axes: Any, records: Records) -> None:
    steps, losses = _column(records, "loss")
    window = max(1, len(losses) // 20)
    axes.plot(*_thinned(steps, losses), color=_PALE, lw=1, marker=_dot(steps), label="training, each step")
    if window > 1:
        smooth = _smoothed(losses, window)
        axes.plot(*_thinned(steps, smooth), color=_BLUE, lw=2, label=f"training, mean of {window} steps")
    steps, losses = _column(records, "validation_loss")
    if steps:
        axes.plot(steps, losses, color=_ORANGE, lw=2, marker="o", label="validation")
    axes.set_ylabel("loss (nats a token\nof the doctor's words)")
    # The same height, said in the other unit.
    perplexity = axes.secondary_yaxis("right")
    perplexity.set_ylabel("perplexity")
    perplexity.yaxis.set_major_formatter(_perplexity)
    axes.legend()


def _draw_rate(axes: Any, records: Records) -> None:
    steps, rates = _column(records, "lr")
    axes.plot(*_thinned(steps, rates), color=_BLUE, lw=1.5, marker=_dot(steps))
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 2))


def _draw_probes(axes: Any, records: Records) -> None:
    for name, (color, marker, label) in _PROBES.items():
        asked = [record for record in records if name in record]
        if not asked:
            continue
        counts = [max(1, round(record.get("probe_n", 1))) for record in asked]
        shares = [
            Proportion(round(min(max(record[name], 0.0), 1.0) * count), count)
            for record, count in zip(asked, counts, strict=True)
        ]
        axes.errorbar(
            [record["step"] for record in asked],
            [100 * share.rate for share in shares],
            yerr=[
                [100 * (share.rate - share.low) for share in shares],
                [100 * (share.high - share.rate) for share in shares],
            ],
            color=color,
            marker=marker,
            capsize=3,
            lw=1.5,
            elinewidth=1,
            label=f"{label} (n = {_listed(counts)})",
        )
    axes.set_ylim(-4, 104)
    axes.set_ylabel("share of answers (%)\nwith 95 % interval")
    axes.legend()


def _column(records: Records, name: str) -> tuple[list[float], list[float]]:
    """Steps and values of the records that have such a value, and it is a number."""
    found = [
        (record["step"], record[name])
        for record in records
        if record.get(name) is not None and math.isfinite(record[name])
    ]
    return [step for step, _ in found], [value for _, value in found]


def _smoothed(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and those before it, `window` in all."""
    sums = [0.0, *accumulate(values)]
    return [(sums[at] - sums[max(0, at - window)]) / min(window, at) for at in range(1, len(values) + 1)]


def _thinned(steps: Sequence[float], values: Sequence[float]) -> tuple[list[float], list[float]]:
    """Of a long curve the lowest and the highest value of each stretch: spikes stay."""
    stretch = -(-2 * len(values) // _POINTS)
    if stretch < 3:
        return list(steps), list(values)
    kept: list[int] = []
    for start in range(0, len(values), stretch):
        numbers = range(start, min(start + stretch, len(values)))
        kept += sorted({min(numbers, key=values.__getitem__), max(numbers, key=values.__getitem__)})
    return [steps[at] for at in kept], [values[at] for at in kept]


def _dot(steps: Sequence[float]) -> str | None:
    """A line through one point is not seen."""
    return "o" if len(steps) == 1 else None


def _perplexity(loss: float, _: int | None = None) -> str:
    value = math.exp(min(loss, 700.0))
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}" if value < 1e6 else f"{value:.0e}"


def _listed(counts: Sequence[int]) -> str:
    return " or ".join(map(str, dict.fromkeys(counts)))
