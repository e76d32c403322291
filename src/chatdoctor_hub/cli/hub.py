"""`chatdoctor publish` and `chatdoctor fetch`: a checked folder to the Hub, and back."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from chatdoctor_hub.cli.telling import Debug, told

if TYPE_CHECKING:
    from chatdoctor_hub.cli.hub_display import HubDisplay
    from chatdoctor_hub.hub import PublishPlan

__all__ = ["hub_app"]

hub_app = typer.Typer(
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
"""Its verbs stand beside those of the root: `app.add_typer(hub_app)`, without a name."""


class _Type(str, enum.Enum):
    MODEL = "model"
    DATASET = "dataset"


class _Gate(str, enum.Enum):
    AUTO = "auto"
    MANUAL = "manual"
    NO = "no"


@hub_app.command("publish")
def publish_command(
    folder: Annotated[Path, typer.Argument(help="A release or corpus folder.")],
    repo: Annotated[str, typer.Argument(help="Repo id, me/my-model; without 'me/' your own.")],
    type: Annotated[_Type | None, typer.Option(help="By default what the folder is.")] = None,
    public: Annotated[bool, typer.Option("--public", help="For everybody, once it is verified.")] = False,
    gated: Annotated[
        _Gate | None, typer.Option(help="Who may download: who accepts the terms, whom you let in, or all.")
    ] = None,
    tag: Annotated[str | None, typer.Option(help="For the commit, such as v1.")] = None,
    collection: Annotated[str | None, typer.Option(help="Slug, or the title of one of your own.")] = None,
    pr: Annotated[bool, typer.Option("--pr", help="Open a pull request and change nothing else.")] = False,
    merge: Annotated[bool, typer.Option("--merge", help="With --pr: merge it once it is verified.")] = False,
    revision: Annotated[str, typer.Option(help="The branch to publish to.")] = "main",
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="Go on in spite of a concern that the plan shows, by its kind, such as identifiers or "
            "remote-edits; may be repeated."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan or the result as JSON.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before anything is sent.")] = False,
    no_answer: Annotated[
        bool, typer.Option("--no-answer", help="Verify without loading the model and asking it a question.")
    ] = False,
    debug: Debug = False,
) -> None:
    """A checked folder -> the Hub: private, one commit, verified, and only then public if asked for."""
    with told(debug):
        from chatdoctor_hub.cli.hub_display import HubDisplay
        from chatdoctor_hub.hub import plan, publish

        # Standard output is for what a script reads.
        display = HubDisplay(Console(stderr=as_json))
        settings: dict[str, Any] = {
            "type": type.value if type else None,
            "public": public,
            "gated": {None: None, _Gate.NO: False}.get(gated, gated and gated.value),
            "tag": tag,
            "collection": collection,
            "pr": pr,
            "merge": merge,
            "revision": revision,
            "accept": accept or (),
            "ask": not no_answer,
        }
        if dry_run:
            _show(plan(folder, repo, **settings), display, as_json)
            return
        done = publish(
            folder,
            repo,
            **settings,
            confirm=_confirm(display, yes),
            on_step=display.step,
        )
        if as_json:
            typer.echo(json.dumps(done.to_record(), indent=2, ensure_ascii=False))
        else:
            display.published(done)


def _show(found: PublishPlan, display: HubDisplay, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found.to_record(), indent=2, ensure_ascii=False))
    else:
        display.plan(found)
    found.check()


def _confirm(display: HubDisplay, yes: bool) -> Callable[[PublishPlan], bool]:
    def confirm(found: PublishPlan) -> bool:
        display.plan(found)
        return yes or display.confirm(found)

    return confirm


@hub_app.command("fetch")
def fetch_command(
    repo: Annotated[str, typer.Argument(help="Repo id, me/my-model.")],
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit (default: main).")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder to write (default: the Hub's cache).")] = None,
    type: Annotated[_Type | None, typer.Option(help="By default whichever there is.")] = None,
    debug: Debug = False,
) -> None:
    """A release or corpus on the Hub -> a folder, compared file by file; prints where it is."""
    with told(debug):
        from chatdoctor_hub.hub import fetch

        typer.echo(fetch(repo, revision, out=out, type=type.value if type else None))
