"""`chatdoctor train … --on hf-jobs`: the options of a job, its submission and its log."""

from __future__ import annotations

import enum
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from chatdoctor_hub.hub.job_request import JobRequest
    from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["DryRun", "Flavor", "JobOptions", "On", "Package", "Release", "Repo", "Secrets", "Timeout", "Yes"]


class _Place(str, enum.Enum):
    HF_JOBS = "hf-jobs"


_PANEL = "On the Hub's machines"

On = Annotated[
    _Place | None,
    typer.Option(help="Not here, but as a job that ends with a private release.", rich_help_panel=_PANEL),
]
Flavor = Annotated[
    str | None, typer.Option(help="The machine, a100-large (see: hf jobs hardware).", rich_help_panel=_PANEL)
]
Repo = Annotated[
    str | None,
    typer.Option(help="To publish to, me/my-model (default: the output's name).", rich_help_panel=_PANEL),
]
Release = Annotated[
    list[str] | None,
    typer.Option(
        help="Setting of the release: license=apache-2.0, which it needs, merge=true; may be repeated.",
        rich_help_panel=_PANEL,
    ),
]
Secrets = Annotated[
    list[str] | None,
    typer.Option(
        help="Name of a variable that the job gets too, as HF_TOKEN always is; may be repeated.",
        rich_help_panel=_PANEL,
    ),
]
Timeout = Annotated[
    str | None, typer.Option(help="When to end it, 90m or 12h (default: 12h).", rich_help_panel=_PANEL)
]
Package = Annotated[
    str | None,
    typer.Option(help="How pip finds chatdoctor-hub there (default: this release).", rich_help_panel=_PANEL),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Print the job, and submit nothing.", rich_help_panel=_PANEL)
]
Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask before it is submitted.", rich_help_panel=_PANEL)
]


@dataclass(frozen=True)
class JobOptions:
    """What was said of a job on the command line."""

    on: _Place | None
    flavor: str | None
    repo: str | None
    release: list[str] | None
    secrets: list[str] | None
    timeout: str | None
    package: str | None
    dry_run: bool
    yes: bool

    def check(self, others: Iterable[str]) -> None:
        """Refuse what does not go together.

        Args:
            others: options of a run on this machine that were given.

        Raises:
            ConfigError: naming them.
        """
        from chatdoctor_hub.errors import ConfigError

        given = [
            f"--{name.replace('_', '-')}" for name, value in vars(self).items() if value and name != "on"
        ]
        if self.on is None and given:
            raise ConfigError(f"Expected --on hf-jobs with {' and '.join(given)}, found none.")
        if self.on is None:
            return
        if found := list(others):
            raise ConfigError(f"Expected --on hf-jobs without {' and '.join(found)}, found both.")
        if self.flavor is None:
            raise ConfigError(
                "Expected --flavor, the machine for the job, such as a100-large, found none; `hf jobs hardware` "
                "lists them with their prices."
            )

    def carry_out(
        self, config: RecipeConfig, *, strategy: str | None, processes: int | None, as_json: bool
    ) -> None:
        """Submit the job and follow it to its end, or print it."""
        from chatdoctor_hub.hub.job_request import request_job
        from chatdoctor_hub.training.recipe import with_settings

        request = request_job(
            config,
            flavor=self.flavor or "",
            repo=self.repo,
            release=with_settings({}, self.release or []),
            secrets=self.secrets or (),
            timeout=self.timeout or "12h",
            package=self.package or "",
            strategy=strategy,
            processes=processes,
        )
        if not self.dry_run:
            _run(request, as_json, self.yes)
        elif as_json:
            _print_json(request.to_record())
        else:
            _show(request)


def _print_json(record: dict[str, Any]) -> None:
    typer.echo(json.dumps(record, indent=2, ensure_ascii=False))


def _show(request: JobRequest) -> None:
    for name, value in request.to_record().items():
        if name != "script":
            shown = value if isinstance(value, str) else json.dumps(value)
            typer.echo(f"# {name}: {shown}")
    typer.echo(request.script, nl=False)


def _asked(console: Console, request: JobRequest) -> bool:
    """Say what is about to be paid for, and ask; no answer is a no."""
    cost = "a price that the Hub does not name"
    if request.highest_cost is not None:
        cost = f"at most {request.highest_cost:,.2f} US dollars"
    lines = [
        f"A job on {request.flavor} ({request.machine}) for at most {request.timeout}: {cost}",
        *(f"- from {name} at {commit}" for name, commit in request.commits.items()),
        f"- to {request.repo}, private, under the licence {request.release['license']}",
    ]
    for line in lines:
        console.print(escape(line), highlight=False, soft_wrap=True)
    try:
        answer = console.input(escape("Submit it? (--yes says so beforehand) [y/N] "))
    except EOFError:
        return False
    return answer.strip().lower() in ("y", "yes")


def _run(request: JobRequest, as_json: bool, yes: bool) -> None:
    from chatdoctor_hub.errors import HubError
    from chatdoctor_hub.hub.jobs import follow, submit

    # Standard output is for what a script reads.
    console = Console(stderr=as_json)

    def say(line: str) -> None:
        console.print(escape(line), highlight=False, soft_wrap=True)

    if not yes and not _asked(console, request):
        raise HubError(f"{request.repo}: expected a yes, found none; no job was submitted.")
    job = submit(request, on_step=say)
    say(f"Submitted: {job.url}")
    try:
        done = follow(job, on_line=say)
    except KeyboardInterrupt:
        number = f"{job.owner}/{job.id}"
        say(f"The job runs on: {job.url} (hf jobs logs {number}; to end it: hf jobs cancel {number})")
        raise typer.Exit(130) from None
    if as_json:
        _print_json(done.to_record())
    else:
        say(f"Published and verified: {done.published['url']} at {done.published['commit']}")
        say("It is private: only you and your organisation see it.")
