"""`BuildDisplay`: what the corpus verbs show: plans, progress, summaries; never a dialogue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

if TYPE_CHECKING:
    from pathlib import Path

    from chatdoctor_hub.corpus.building.build import BuildProgress
    from chatdoctor_hub.corpus.building.plan import CorpusPlan
    from chatdoctor_hub.corpus.cleaning import Leak
    from chatdoctor_hub.corpus.folder import Corpus

__all__ = ["BuildDisplay"]


class BuildDisplay:
    """Tables and progress bars on a console.

    Args:
        console: where to print.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def plan(self, plan: CorpusPlan) -> None:
        """What will be read, and what will be done with it."""
        rows = [
            (kind, source.name, _size(source.size), source.provenance["licence"] or "unknown")
            for kind, sources in (("read", plan.sources), ("compare", plan.evaluation))
            for source in sources
        ]
        self._table("Sources", ("", "source", "size", "licence"), rows)
        for source in (*plan.sources, *plan.evaluation):
            if notes := source.provenance["notes"]:
                self._say(f"{source.name}: {notes}")
        self._say("Steps")
        for number, step in enumerate(plan.steps, start=1):
            self._say(f"  {number}. {step}")

    @contextmanager
    def progress(self) -> Iterator[Callable[[BuildProgress], None]]:
        """Progress bars that go away when the block ends; nothing where there is no terminal."""
        if not self._console.is_terminal:
            yield lambda progress: None
            return
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            TextColumn("{task.completed:,.0f}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            tasks: dict[str, TaskID] = {}

            def on_progress(progress: BuildProgress) -> None:
                if progress.step not in tasks:
                    for task in tasks.values():
                        bar.stop_task(task)
                    tasks[progress.step] = bar.add_task(progress.step, total=progress.total)
                bar.update(tasks[progress.step], completed=progress.done)

            yield on_progress

    def left(self, place: Path) -> None:
        """Where a build that was stopped has left its work, if anywhere."""
        if place.exists():
            self._say(f"What was made so far is kept in {place} until a build succeeds.")

    def summary(self, corpus: Corpus) -> None:
        """What a corpus holds, what was changed in it and what was left out."""
        info = corpus.info
        rows = [(name, f"{count:,}", f"{info['turns'][name]:,}") for name, count in info["dialogues"].items()]
        self._table(f"{corpus.path}", ("split", "dialogues", "turns"), rows)
        changes = {"read": info["repairs"], **info.get("changes", {})}
        self._table("Changed", ("step", "what", "how often"), _flat(changes))
        self._table("Left out", ("step", "reason", "records"), _flat(info["counts"]["rejected"]))
        read, kept = info["counts"]["read"], info["counts"]["kept"]
        self._say(f"{read:,} records read = {kept:,} kept + {read - kept:,} left out")
        if check := info.get("leak_check"):
            self._say(
                f"{check['found']:,} dialogues repeat one of {check['dialogues']:,} evaluation records "
                f"({check['on_leak']})"
            )
        self._say(f"licence {info['licence']}, digest {corpus.digest}")

    def leaks(self, leaks: Sequence[Leak], most: int) -> None:
        """Which records leak, by their ids."""
        rows = [
            (leak.training_id, leak.evaluation_id, leak.kind, leak.part, f"{leak.similarity:.2f}")
            for leak in leaks[:most]
        ]
        self._table("Leaks", ("training", "evaluation", "kind", "part", "similarity"), rows)
        if len(leaks) > most:
            self._say(f"… and {len(leaks) - most:,} more pairs, which --json lists")
        kinds = Counter(leak.kind for leak in leaks)
        told = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
        self._say(f"{len(leaks):,} leaks" + (f": {told}" if told else ""))

    def _say(self, text: str) -> None:
        self._console.print(escape(text), highlight=False, soft_wrap=True)

    def _table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        if not rows:
            return
        table = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
        for name in header:
            is_number = name in ("size", "dialogues", "turns", "how often", "records", "similarity")
            table.add_column(name, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*map(escape, row))
        self._console.print(table)


def _flat(counts: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(step, kind, f"{count:,}") for step, kinds in counts.items() for kind, count in kinds.items()]


def _size(count: int | None) -> str:
    if count is None:
        return ""
    return f"{count / 1e6:,.1f} MB" if count >= 100_000 else f"{count / 1e3:,.1f} kB"
