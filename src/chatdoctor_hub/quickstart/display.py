"""What a quickstart shows while it works (rich)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

__all__ = ["Advance", "Display"]


class Advance(Protocol):
    """Moves a progress bar: how far, and a word on how it goes."""

    def __call__(self, done: int, note: str = "") -> None:
        """Show that `done` of the total is done."""


class Display:
    """Headings, progress bars, lines and tables on a console.

    Args:
        console: where to print.
        steps: how many steps there are.
    """

    def __init__(self, console: Console, steps: int) -> None:
        self.console = console
        self._steps = steps
        self._step = 0

    def step(self, title: str, explanation: str) -> None:
        """Announce the next step and what it does."""
        self._step += 1
        self.console.print(
            f"\n[bold cyan]{self._step}/{self._steps} {escape(title)}[/]  {escape(explanation)}"
        )

    def say(self, text: str) -> None:
        """One line of a step's outcome."""
        self.console.print(f"    {escape(text)}", highlight=False, soft_wrap=True)

    @contextmanager
    def progress(self, what: str, total: int) -> Iterator[Advance]:
        """A progress bar that goes away when the block ends; nothing where there is no terminal."""
        if not self.console.is_terminal:
            yield lambda done, note="": None
            return
        columns = (
            TextColumn("    {task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=self.console, transient=True) as bar:
            task = bar.add_task(what, total=total, note="")

            def advance(done: int, note: str = "") -> None:
                bar.update(task, completed=done, note=note)

            yield advance

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A small table."""
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
        for number, name in enumerate(header):
            table.add_column(name, justify="left" if number == 0 else "right", no_wrap=True, min_width=3)
        for row in rows:
            table.add_row(*[escape(cell) for cell in row])
        self.console.print(table)
