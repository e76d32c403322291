"""`chatdoctor corpus …`: the verbs that make training data."""

from __future__ import annotations

import typer

__all__ = ["corpus_app"]

corpus_app = typer.Typer(
    help="Training data from raw dialogues and disease tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
