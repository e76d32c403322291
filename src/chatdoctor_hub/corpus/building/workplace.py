"""`workplace`: the hidden folder beside a corpus in which it is built, and which outlives an interruption."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chatdoctor_hub.errors import DataError

__all__ = ["workplace"]

_KEYS = "keys.json"


@contextmanager
def workplace(out: str | os.PathLike[str], keys: Mapping[str, str]) -> Iterator[Mapping[str, Path]]:
    """A folder for each stage of a build; what an earlier build left in them is there if its key was the same.

    The folders lie in `.NAME.build` beside `out`. They hold patients' words, so only their owner may read
    them. When the block ends well they are removed, else they stay, and the same build goes on with them.

    Args:
        out: the corpus that is built.
        keys: for each stage a digest of all that its result depends on, in order; a changed key empties its
            folder and those of later stages.

    Yields:
        The folder of each stage.

    Raises:
        DataError: when another process is building the same corpus.
    """
    target = Path(os.path.realpath(out))
    place = target.with_name(f".{target.name}.build")
    with ExitStack() as held:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _take(place, held)
            _empty_stale(place, keys)
        except OSError as error:
            raise DataError(
                f"Expected to write the corpus {str(out)!r}, found: {error.strerror}; choose a place that you "
                "may write to."
            ) from error
        stages = {stage: place / stage for stage in keys}
        try:
            yield stages
        except BaseException:
            if any(any(folder.iterdir()) for folder in stages.values()):
                raise
            shutil.rmtree(place, ignore_errors=True)
            raise
        shutil.rmtree(place, ignore_errors=True)


def _empty_stale(place: Path, keys: Mapping[str, str]) -> None:
    known = _known(place)
    stale = False
    for stage, key in keys.items():
        stale = stale or known.get(stage) != key
        if stale:
            shutil.rmtree(place / stage, ignore_errors=True)
        (place / stage).mkdir(exist_ok=True)
    # A stage is emptied before its new key is noted, so that a kill between the two does no harm.
    (place / _KEYS).write_text(json.dumps(dict(keys)), "utf-8")


def _take(place: Path, held: ExitStack) -> None:
    """Make the place and hold it until the block, or the process, ends."""
    place.mkdir(exist_ok=True, mode=0o700)
    with suppress(ImportError):
        import fcntl

        handle = os.open(place, os.O_RDONLY)
        held.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(
                f"Expected to be alone in building {place.name[1:].removesuffix('.build')}, found another process "
                "that builds it; wait for it, or choose another folder."
            ) from None
        except OSError:
            return  # a file system without locks
        if not place.exists() or place.stat().st_ino != os.fstat(handle).st_ino:
            _take(place, held)  # a build that was just ending has removed it meanwhile


def _known(place: Path) -> dict[str, str]:
    try:
        keys = json.loads((place / _KEYS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return keys if isinstance(keys, dict) else {}
