"""`hf chatdoctor …`: the verbs of `chatdoctor` as an extension of the Hub's command line."""

from __future__ import annotations

from chatdoctor_hub.cli.app import app

__all__ = ["main"]


def main() -> None:
    """Entry point of the console script that `hf` starts."""
    app(prog_name="hf chatdoctor")
