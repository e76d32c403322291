"""What the command line shows of a publish: the plan, the question, the steps and the result."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console

    from chatdoctor_hub.hub import PublishedRelease, PublishPlan

__all__ = ["HubDisplay"]

_STYLES = {"new": "green", "changed": "yellow", "same": "dim", "deleted": "red"}


class HubDisplay:
    """Shows plans, asks, and tells what is being done.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self._console = console

    def plan(self, plan: PublishPlan) -> None:
        """Every file, what changes, and what is to be known."""
        table = Table(
            title=f"{escape(str(plan.contents.folder))} -> {plan.type} {plan.repo} at {plan.endpoint}"
        )
        table.add_column("file")
        table.add_column("bytes", justify="right")
        table.add_column("")
        for file in plan.files:
            table.add_row(escape(file.path), f"{file.size:,}", file.state, style=_STYLES[file.state])
        self._console.print(table)
        for change in plan.changes:
            self._print(f"- {change}")
        for concern in plan.concerns:
            where = f"{concern.where}: " if concern.where else ""
            forbids = concern in plan.obstacles
            style = "bold red" if forbids else "yellow" if concern.weight == "public" else "dim"
            self._print(f"{'! ' if forbids else '- '}{concern.kind}: {where}{concern.what}", style)
        if not plan.is_changed:
            self._print("Nothing to commit: all files are there as they are here.")

    def confirm(self, plan: PublishPlan) -> bool:
        """Ask whether to go ahead; no answer is a no."""
        counts: Counter[str] = Counter(file.state for file in plan.files)
        files = ", ".join(f"{counts[state]} {state}" for state in _STYLES if counts[state])
        will = "a pull request to" if plan.settings.pr else plan.visibility.upper()
        question = (
            f"Publish {files} ({plan.upload_bytes / 1e6:,.1f} MB) as {will} {plan.type} {plan.repo}? "
            "(--yes says so beforehand) [y/N] "
        )
        try:
            return self._console.input(escape(question)).strip().lower() in ("y", "yes")
        except EOFError:
            return False

    def step(self, step: str) -> None:
        """Tell what is being done."""
        self._print(f"{step} …", "dim")

    def published(self, done: PublishedRelease) -> None:
        """Tell what is there now."""
        what = "Published" if done.changed else "Nothing changed, so no commit was made"
        self._print(f"{what}: {done.url} at {done.commit}" + (f", tag {done.tag}" if done.tag else ""))
        seen = done.verified
        told = f"Verified: {seen.files} files downloaded and compared"
        if seen.answered:
            told += ", the model loaded and asked"
        elif seen.why_not:
            told += f"; the model was not loaded: {seen.why_not}"
        self._print(f"{told}.")
        if not done.public:
            self._print("It is private: only you and your organisation see it.")
        elif done.type == "model" and not done.pull_request:
            self._print(f'ChatDoctor(model="{done.repo}", revision="{done.tag or done.commit}")')

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(escape(text), style=style or None, highlight=False, soft_wrap=True)
