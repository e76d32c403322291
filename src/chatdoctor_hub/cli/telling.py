"""What the command line says of errors: one sentence and an exit status."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console

from chatdoctor_hub.errors import ChatDoctorError

__all__ = ["Debug", "told"]

Debug = Annotated[bool, typer.Option("--debug", help="Show the whole traceback of an error.")]


@contextmanager
def told(debug: bool) -> Iterator[None]:
    """Turn every error inside into one sentence and an exit status: 2 for what the user can mend.

    With `debug` errors come out as they are, with their traceback.
    """
    if debug:
        yield
        return
    # The progress shown is ours; what libraries deprecate among themselves is not the user's concern.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.simplefilter("ignore")
    try:
        yield
    except typer.Exit:
        raise  # a verb that ends with a status of its own
    except ChatDoctorError as error:
        _tell(str(error))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        _tell("Stopped; nothing half-written was left. The same command goes on where it stopped.")
        raise typer.Exit(130) from None
    except BrokenPipeError:
        # The reader went away (`… | head`); let Python's own shutdown not complain about it as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(1) from None
    except Exception as error:  # noqa: BLE001 - the last line of defence: no traceback without --debug
        _tell(f"{type(error).__name__}: {error}. This was not foreseen; --debug shows where it happened.")
        raise typer.Exit(1) from None


def _tell(sentence: str) -> None:
    Console(stderr=True).print(
        f"[bold red]chatdoctor:[/] {_escaped(sentence)}", highlight=False, soft_wrap=True
    )


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
