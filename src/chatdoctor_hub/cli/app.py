"""`chatdoctor …`; every error is one sentence and exit status 2."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from chatdoctor_hub import __version__
from chatdoctor_hub.cli.corpus_writing import corpus_app
from chatdoctor_hub.cli.hub import hub_app
from chatdoctor_hub.cli.hub_extension import hub_extension_app
from chatdoctor_hub.cli.release import release_app
from chatdoctor_hub.cli.telling import Debug, told
from chatdoctor_hub.cli.training import training_app

__all__ = ["app", "main"]

app = typer.Typer(
    name="chatdoctor",
    help="From a base model to a safe medical chat model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(corpus_app, name="corpus")
app.add_typer(training_app)
app.add_typer(release_app)
app.add_typer(hub_app)
app.add_typer(hub_extension_app)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and end."),
    ] = False,
) -> None:
    pass


@app.command("quickstart")
def quickstart_command(
    knowledge: Annotated[
        Path | None,
        typer.Option(help="Disease table (CSV, one of ChatDoctor's three layouts) (default: starter table)."),
    ] = None,
    dialogues: Annotated[
        Path | None,
        typer.Option(
            help="Dialogues (Alpaca-style JSON or messages JSONL) (default: written from the table)."
        ),
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="Folder or Hub id of a causal language model (default: a tiny one, trained here)."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("runs/quickstart"),
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Of everything that is drawn.")] = 0,
    debug: Debug = False,
) -> None:
    """Disease table -> dialogues -> tuned model -> measured -> release -> chat, offline, in minutes."""
    with told(debug):
        from chatdoctor_hub.quickstart import QuickstartSettings, quickstart

        quickstart(
            QuickstartSettings(out=out, knowledge=knowledge, dialogues=dialogues, base=base, seed=seed)
        )


@app.command("chat")
def chat_command(
    model: Annotated[str, typer.Argument(help="Release folder, model folder or Hub id.")],
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of a Hub id (default: main).")
    ] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 takes the likeliest words.")] = 0.0,
    max_tokens: Annotated[int, typer.Option(min=1, help="Longest answer, in tokens.")] = 256,
    debug: Debug = False,
) -> None:
    """Chat with a model in the terminal; its safety prompt is applied to every answer."""
    with told(debug):
        from chatdoctor_hub.cli.conversation import converse

        converse(model, revision=revision, temperature=temperature, max_tokens=max_tokens, console=Console())


def main() -> None:
    """Entry point of the console script."""
    app()
