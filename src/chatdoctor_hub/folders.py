"""Writing a folder or a file whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["replacing_file", "replacing_folder"]


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its name, and its place, when the block ends well.

    When it does not (an error, Ctrl-C), what was begun is removed and `out` is as before. What a killed
    process left behind is removed by the next one that writes to the same name.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    for leftover in out.parent.glob(f".{out.name}.*.partial"):
        shutil.rmtree(leftover, ignore_errors=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        old = out.with_name(f".{out.name}.old.{os.getpid()}.partial")
        if out.exists():
            out.rename(old)
        partial.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replacing_file(out: Path) -> Iterator[Path]:
    """A path beside `out` whose file takes its name, and its place, when the block ends well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
