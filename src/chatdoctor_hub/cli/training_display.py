"""`TrainingDisplay`: what the tuning verbs show: recipes, plans, progress, what came out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from chatdoctor_hub.training import RunFolder
    from chatdoctor_hub.training.recipe import RecipeSummary

__all__ = ["TrainingDisplay"]

_LINES = 10  # lines that a run prints where there is no terminal, beside those of its validations
_PROBED = ("_refused", "_answered")  # ends of the names of what probes find, as shares
_BAR = 30  # characters of the longest bar of a histogram


class TrainingDisplay:
    """Tables and progress bars on a console.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, text: str) -> None:
        """A line as it is."""
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def recipes(self, found: Sequence[RecipeSummary]) -> None:
        """One row a recipe, and below it where it is from."""
        for recipe in found:
            self._console.print(f"[bold]{escape(recipe.name)}[/]", highlight=False)
            for line in (
                recipe.title,
                f"trains {recipe.adapter}; prompt {recipe.prompt}",
                f"from {recipe.source}",
            ):
                self._console.print(f"    {escape(line)}", highlight=False, soft_wrap=True)
        self.say("chatdoctor recipes NAME prints one in YAML.")

    @contextmanager
    def progress(self) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """A bar that takes the record of each step and goes away at the end; lines where there is no terminal."""
        if not self._console.is_terminal:
            yield _Lines(self.say)
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task("getting ready", total=None, figures="")
            pace = _Pace()
            seen: dict[str, Any] = {}

            def on_step(record: Mapping[str, Any]) -> None:
                # A run that goes on starts far from 0: the time left is told from the steps of this one alone.
                update: Any = bar.update if seen else bar.reset
                seen.update(record)
                update(
                    task,
                    description=_step(seen),
                    completed=record["step"],
                    total=record.get("steps"),
                    figures=_figures(seen, pace.after(record)),
                )

            yield on_step

    def plan(self, record: Mapping[str, Any], preview: RenderableType | None) -> None:
        """What would be done: tables, and one example with the doctor's words in colour."""
        self.record("Plan", record)
        if preview is not None:
            self._console.print("[bold]One example; what is learned is coloured[/]")
            self._console.print(preview, soft_wrap=True)

    def record(self, title: str, record: Mapping[str, Any]) -> None:
        """A record as tables: its single values first, then what has parts of its own."""
        rows = {name: value for name, value in record.items() if not _has_parts(value)}
        self._table(title, [(_label(name), _shown(name, value)) for name, value in rows.items()])
        for name, value in record.items():
            if not _has_parts(value):
                continue
            if "histogram" in name and isinstance(value, Mapping):
                self._table(_label(name), _bars(value))
            elif isinstance(value, Mapping):
                self.record(_label(name), value)
            else:
                self._table(_label(name), [("", _shown(name, item)) for item in value])

    def summary(self, run: RunFolder) -> None:
        """What came out of a run, and how to go on."""
        self._table(str(run.path), _outcome(run))
        if run.manifest.after:
            self.record("afterwards", run.manifest.after)
        if not run.manifest.pure:
            self.say("Safety prompts were tuned on: such weights do not have the safety of PTST.")
        self.say(f"Next: {_next(run)}")

    def _table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        if not rows:
            return
        table = Table(
            title=escape(title),
            title_justify="left",
            title_style="bold",
            box=None,
            pad_edge=False,
            show_header=False,
        )
        table.add_column(style="dim")
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print(table, highlight=False)


class _Pace:
    """Tokens a second since the first step that was seen."""

    def __init__(self) -> None:
        self._start: tuple[float, float] | None = None

    def after(self, record: Mapping[str, Any]) -> float | None:
        now, tokens = time.monotonic(), float(record.get("tokens", 0))
        if self._start is None:
            self._start = (now, tokens)
            return None
        seconds = now - self._start[0]
        return (tokens - self._start[1]) / seconds if seconds > 0 else None


class _Lines:
    """A line every tenth of a run, and for each validation."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._pace = _Pace()
        self._started = time.monotonic()
        self._first: int | None = None
        self._told = 0

    def __call__(self, record: Mapping[str, Any]) -> None:
        pace = self._pace.after(record)
        step, total = int(record["step"]), record.get("steps")
        self._first = step - 1 if self._first is None else self._first
        part = int(step * _LINES / total) if total else step
        if part <= self._told and "validation_loss" not in record:
            return
        self._told = max(part, self._told)
        line = f"{_step(record)}  {_figures(record, pace)}"
        if total and step < total:
            line += f"  {_duration((time.monotonic() - self._started) / (step - self._first) * (total - step))} left"
        self._say(line)


def _step(record: Mapping[str, Any]) -> str:
    total = record.get("steps")
    return f"step {int(record['step']):,}" + (f" of {int(total):,}" if total else "")


def _figures(record: Mapping[str, Any], pace: float | None) -> str:
    parts = [f"loss {record['loss']:.4f}"]
    if "validation_loss" in record:
        parts.append(f"validation {record['validation_loss']:.4f}")
    parts.append(f"lr {record['lr']:.2e}")
    probed = [name for name in record if name.endswith(_PROBED)]
    parts += [f"{_label(name)} {100 * record[name]:.0f} %" for name in probed if _is_number(record[name])]
    if pace is not None:
        parts.append(f"{pace:,.0f} tokens/s")
    return "  ".join(parts)


def _outcome(run: RunFolder) -> list[tuple[str, str]]:
    made = run.manifest
    data = made.data
    rows = [
        ("steps", f"{made.steps:,}" + (", stopped early" if made.stopped_early else "")),
        ("time", f"{_duration(made.seconds)} on {made.device} in {made.precision}"),
        ("tokens/s", f"{made.tokens / max(made.seconds, 1e-9):,.0f}"),
        ("parameters trained", f"{made.trained_parameters:,}"),
        ("dialogues", f"{data.training:,} to train, {data.validation:,} to validate"),
    ]
    for name, counts in (("left out", data.skipped), ("not readable", data.problems)):
        if sum(counts.values()):
            reasons = ", ".join(f"{reason} {count:,}" for reason, count in counts.items())
            rows.append((name, f"{sum(counts.values()):,} ({reasons})"))
    if data.shortened:
        rows.append(("shortened", f"{data.shortened:,}"))
    for name in ("loss", "validation_loss"):
        values = [record[name] for record in run.metrics if name in record]
        rows += [(_label(name), f"{values[0]:.4f} -> {values[-1]:.4f}")] if values else []
    if made.best_step is not None and made.validation_loss is not None:
        rows.append(
            ("weights kept", f"of step {made.best_step:,}, validation loss {made.validation_loss:.4f}")
        )
    if made.resumed_at is not None:
        rows.append(("went on after step", f"{made.resumed_at:,}"))
    if made.speed.why_not_fused:
        rows.append(("not fused", made.speed.why_not_fused))
    return rows


def _next(run: RunFolder) -> str:
    prompt = run.manifest.recipe.prompt
    if prompt != "chatdoctor@1":
        return f"chatdoctor release {run.path} makes a release of it, which is served under {prompt}"
    weights = "model" if run.manifest.recipe.adapter.kind == "full" else "adapter"
    return f"chatdoctor chat {run.path / weights}"


def _has_parts(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and len(value) > 0)


def _label(name: str) -> str:
    return name.replace("_", " ")


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not _is_number(value):
        return str(value) if not isinstance(value, (list, tuple)) else ", ".join(map(str, value))
    if "bytes" in name:
        return f"{value / 2**30:,.2f} GiB"
    if "seconds" in name:
        return _duration(float(value))
    if "share" in name:
        return f"{100 * value:.1f} %"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _bars(counts: Mapping[Any, Any]) -> list[tuple[str, str]]:
    most = max((int(count) for count in counts.values()), default=0) or 1
    return [
        (str(name), f"{'█' * round(_BAR * int(count) / most)} {int(count):,}")
        for name, count in counts.items()
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
