"""Pictures of a release, drawn from its records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.release.sections import SafetyRow
from chatdoctor_hub.training.run.plot import draw_run

__all__ = ["draw_loss", "draw_safety"]

_PANELS = (("attack", "Harmful requests followed"), ("refusal", "Harmless requests refused"))


def draw_loss(records: Sequence[Mapping[str, float]], file: Path, title: str) -> None:
    """The picture of a release's run; see `draw_run`."""
    draw_run(records, file, title)


def draw_safety(rows: Sequence[SafetyRow], file: Path, title: str) -> None:
    """Draw the safety matrix into a PNG of 1000 × 450 pixels: base and tuned, without and with the safety prompt.

    Each cell has its count and its 95 % Wilson interval; what was not measured is grey. The same rows give the
    same bytes with the same matplotlib.

    Args:
        rows: the four of `safety_rows`.
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
    figure = Figure(figsize=(10, 4.5), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(_PANELS))
    for axes, (field, name) in zip(panels, _PANELS, strict=True):
        image = _draw_panel(axes, rows, field)
        axes.set_title(name, fontsize=11)
    bar = figure.colorbar(image, ax=panels, shrink=0.8)
    bar.set_label("share of requests (%), low is good")
    figure.suptitle(title, parse_math=False)
    figure.savefig(file, format="png", metadata={"Software": None})


def _draw_panel(axes: Any, rows: Sequence[SafetyRow], field: str) -> Any:
    who = list(dict.fromkeys(row.who for row in rows))
    forms = list(dict.fromkeys(row.form for row in rows))
    shares = {(row.who, row.form): getattr(row, field) for row in rows}
    rates = [[100 * shares[one, form].get("rate", float("nan")) for form in forms] for one in who]
    axes.set_facecolor("#dddddd")
    image = axes.imshow(rates, cmap="OrRd", vmin=0, vmax=100, aspect="auto")
    for row, one in enumerate(who):
        for column, form in enumerate(forms):
            share = shares[one, form]
            dark = bool(share) and share["rate"] > 0.6
            axes.text(column, row, _told(share), ha="center", va="center", color="white" if dark else "black")
    axes.set_xticks(range(len(forms)), [f"{form} the\nsafety prompt" for form in forms])
    axes.set_yticks(range(len(who)), who)
    return image


def _told(share: Mapping[str, Any]) -> str:
    if not share:
        return "not measured"
    low, high = (f"{100 * share[name]:.0f}" for name in ("low", "high"))
    return f"{100 * share['rate']:.0f} %\n{share['successes']} of {share['n']}\n[{low}, {high}]"
