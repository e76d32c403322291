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
import threading
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chatdoctor_hub.errors import ChatDoctorError, DataError, DataFormatError, DiskSpaceError

__all__ = ["held_folder", "left_aside", "replacing_file", "replacing_folder"]

_OWN = threading.local()
"""`folders`: those that this thread is writing, and holds."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# Libraries written in Rust raise errors without an errno, and shutil one error for many files.
_FULL_IN_WORDS = re.compile(rf"(?:os error|Errno) (?:{errno.ENOSPC}|{errno.EDQUOT}|{errno.EFBIG})\b")


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
        # Another writer moves the old folder aside for a moment while it holds the lock.
        with _locked(target.parent):
            _check_replaceable(target, what, marker)
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


@contextmanager
def held_folder(place: Path, what: str) -> Iterator[Path]:
    """A folder that only its owner may read, made if need be, for one process at a time.

    Args:
        place: the folder; it stays when the block ends.
        what: the work that is done there ("the build of corpus"), for messages.

    Raises:
        DataError: when another process works there, or it cannot be made.
    """
    with ExitStack() as held:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _hold(place, what, held)
        except OSError as error:
            raise DataError(
                f"Expected a work folder {str(place)!r} for {what}, found: {error.strerror}; choose a place "
                "that you may write to."
            ) from error
        yield place


def _hold(place: Path, what: str, held: ExitStack) -> None:
    place.mkdir(exist_ok=True, mode=0o700)
    with suppress(ImportError):
        import fcntl

        handle = os.open(place, os.O_RDONLY)
        held.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Expected to be alone in {what}, found another process at it; wait for it, or choose another "
                "folder."
            ) from None
        except OSError:
            return  # a file system without locks
        if not place.exists() or place.stat().st_ino != os.fstat(handle).st_ino:
            _hold(place, what, held)  # work that was just ending has removed it meanwhile


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
        with ExitStack() as held:
            held.callback(shutil.rmtree, new, ignore_errors=True)
            # Nobody may take the new folder for a dead process's before it is locked itself.
            with _locked(target.parent):
                _clear(target)
                new.mkdir()
                held.enter_context(_locked(new))
            held.enter_context(_written_here(new))
            yield new, target
    except ChatDoctorError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) in _FULL or _FULL_IN_WORDS.search(str(error)):
            raise DiskSpaceError(
                f"Expected room on the disk for the {what} {str(out)!r}, found the disk full; free some space."
            ) from error
        if not _is_about(target, error):
            raise
        raise DataError(
            f"Expected to write the {what} {str(out)!r}, found: "
            f"{getattr(error, 'strerror', None) or 'a failed copy'}; choose a place that you may write to."
        ) from error


def _is_about(target: Path, error: Exception) -> bool:
    """Whether an error comes of writing there, and not of something else that was done in the block."""
    if not isinstance(error, OSError) or isinstance(error, (ConnectionError, TimeoutError)):
        return False
    named = str(error.filename or target)
    hidden = str(target.with_name(f".{target.name}."))
    return named.startswith((str(target), hidden)) or Path(named) in target.parents


def _check_replaceable(target: Path, what: str, marker: str | None) -> None:
    """Refuse what is there, unless it is empty or a folder of the same kind."""
    if not target.exists():
        return
    is_folder = target.is_dir()
    if is_folder and (not marker or (target / marker).is_file() or not any(target.iterdir())):
        return
    raise DataFormatError(
        f"Expected {target} to be absent, empty or an older {what}, found "
        f"{'a folder of other files' if is_folder else 'a file'}; choose another folder."
    )


def _clear(target: Path) -> None:
    """Put back or remove what processes that no longer live left beside `target`, whose parent is locked."""
    for old in left_aside(target):
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(target)
    for new in left_aside(target, "new"):
        with _locked(new, wait=False) as is_left:
            if is_left:
                shutil.rmtree(new, ignore_errors=True)


def _swap(new: Path, target: Path, own: Collection[str] | None) -> None:
    if not target.exists():
        new.rename(target)
        return
    if own is not None:
        shutil.copytree(
            target,
            new,
            symlinks=True,
            dirs_exist_ok=True,
            ignore=lambda folder, _: own if folder == str(target) else (),
        )
    old = new.with_suffix(".old")
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:
        # Even Ctrl-C between the two must not leave the place empty.
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    old.rename(new)  # under this name it is removed, and never put back


@contextmanager
def _written_here(new: Path) -> Iterator[None]:
    """Folders that are written inside `new` need not wait for its lock, which this thread has."""
    before: frozenset[Path] = getattr(_OWN, "folders", frozenset())
    _OWN.folders = before | {new}
    try:
        yield
    finally:
        _OWN.folders = before


@contextmanager
def _locked(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a folder until the block, or the process, ends; False where that cannot be."""
    if folder in getattr(_OWN, "folders", ()):
        yield True
        return
    held = False
    with ExitStack() as stack:
        with suppress(ImportError, OSError):
            import fcntl

            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            # Processes forked meanwhile have the handle too: to close this one alone would not do.
            stack.callback(fcntl.flock, handle, fcntl.LOCK_UN)
            held = True
        yield held
