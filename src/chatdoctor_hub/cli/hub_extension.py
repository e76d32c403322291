"""`chatdoctor install-hf-extension`: the same verbs as `hf chatdoctor …`."""

from __future__ import annotations

from typing import Annotated

import typer

from chatdoctor_hub.cli.telling import Debug, told

__all__ = ["hub_extension_app"]

hub_extension_app = typer.Typer(
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)
"""Its verb stands beside those of the root: `app.add_typer(hub_extension_app)`, without a name."""


@hub_extension_app.command("install-hf-extension")
def install_hf_extension_command(
    remove: Annotated[bool, typer.Option("--remove", help="Undo it.")] = False,
    debug: Debug = False,
) -> None:
    """Make the Hub's command line know this one: `hf chatdoctor …`, also in `hf --help`."""
    with told(debug):
        from chatdoctor_hub.hub.extension import install_extension, remove_extension

        if remove:
            typer.echo("Removed." if remove_extension() else "It was not installed; nothing was changed.")
            return
        made = install_extension()
        typer.echo(f"{'Installed in' if made.changed else 'Installed already, in'} {made.path}")
        typer.echo("Next: hf chatdoctor --help")
