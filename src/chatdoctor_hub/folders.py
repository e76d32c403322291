"""Writing a folder or a file whole or not at all.

What is new is made beside its place in a hidden folder, `.NAME.TOKEN.new`, and renamed once it is complete;
a folder that it replaces stands aside for that moment as `.NAME.TOKEN.old`. What a killed process left of
these, the next one that writes to the same name puts back or removes. A living one holds a lock on its own,
which the system lifts when the process ends, however it ends.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from chatdoctor_hub.errors import ChatDoctorError, DataError, DataFormatError, DiskSpaceError

__all__ = ["left_aside", "replacing_file", "replacing_folder"]

_FULL = (errno.ENOSPC, errno.EDQUOT)
# Libraries written in Rust raise errors without an errno, and shutil one error for many files.
_FULL_IN_WORDS = re.compile(rf"(?:os error|Errno) (?:{errno.ENOSPC}|{errno.EDQUOT})\b")


@contextmanager
def replacing_folder(
    out: str | os.PathLike[str],
    *,
    what: str = "folder",
    marker: str | None = None,
    own: Collection[str] | None = None,
) -> Iterator[Path]:
    """A new folder beside `out` that takes its name, and its place, when the block ends well.

    When it does not (an error, Ctrl-C), what was begun is removed and `out` is as before.

    Args:
        out: where; a link is followed, missing parents are made.
        what: the kind of folder this is, for messages.
        marker: a file that every folder of this kind has; one without it is refused rather than replaced,
            unless it is empty. None replaces any folder.
        own: the names in a folder of this kind; other entries are carried over. None carries over nothing.

    Raises:
        DataFormatError: before the block, when `out` is a file or a folder of another kind.
        DiskSpaceError: when the disk is full.
        DataError: when the place cannot be written for another reason.
    """
    with _beside(out, what) as (new, target):
        is_folder = target.is_dir()
        replaceable = not marker or not is_folder or (target / marker).is_file() or not any(target.iterdir())
        if target.exists() and not (is_folder and replaceable):
            raise DataFormatError(
                f"Expected {target} to be absent, empty or an older {what}, found "
                f"{'a folder of other files' if is_folder else 'a file'}; choose another folder."
            )
        yield new
        with _locked(target.parent):
            _swap(new, target, own)


@contextmanager
def replacing_file(out: str | os.PathLike[str], *, what: str = "file") -> Iterator[Path]:
    """A path with the name of `out` in a new folder; its file takes the place of `out` when the block ends well.

    Args and errors are those of `replacing_folder`.
    """
    with _beside(out, what) as (new, target):
        if target.is_dir():
            raise DataFormatError(
                f"Expected {target} to be absent or a {what}, found a folder; choose another name."
            )
        yield new / target.name
        (new / target.name).replace(target)


def left_aside(out: Path, kind: str = "old") -> list[Path]:
    """What was left beside `out` by a process that was killed: "old" to be put back, "new" never finished."""
    name = re.compile(rf"\.{re.escape(out.name)}\.[0-9a-f]{{8}}\.{kind}")
    try:
        return [path for path in sorted(out.parent.iterdir()) if name.fullmatch(path.name)]
    except (OSError, ValueError):
        return []


@contextmanager
def _beside(out: str | os.PathLike[str], what: str) -> Iterator[tuple[Path, Path]]:
    """A new locked folder and the place it is for; the folder is gone afterwards, unless it was renamed."""
    try:
        target = Path(os.path.realpath(out))
        new = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    except ValueError as error:
        raise DataError(f"Expected a name for a {what}, found {str(out)!r}; choose another.") from error
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Until the new folder is locked, too, it must not be taken for a dead process's.
            with _locked(target.parent):
                _clear(target)
                new.mkdir()
                lock = _locked(new)
                lock.__enter__()
            with lock:
                yield new, target
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except ChatDoctorError:
        raise
    except Exception as error:
        ...
