"""`workplace`: the hidden folder beside a corpus in which it is built, and which outlives an interruption."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from chatdoctor_hub.errors import ChatDoctorError, DataError, DataFormatError
from chatdoctor_hub.folders import held_folder

__all__ = ["begun_workplace", "workplace", "workplace_of"]

_KEYS = "keys.json"


def workplace_of(out: str | os.PathLike[str]) -> Path:
    """The hidden folder in which a corpus is built, there or not."""
    target = Path(os.path.realpath(out))
    return target.with_name(f".{target.name}.build")


@contextmanager
def workplace(
    out: str | os.PathLike[str], keys: Mapping[str, str], *, keep: bool = False
) -> Iterator[Mapping[str, Path]]:
    """A folder for each stage of a build; what an earlier build left in them is there if its key was the same.

    The folders lie in `.NAME.build` beside `out`. They hold patients' words, so only their owner may read
    them. When the block ends well they are removed, else they stay, and the same build goes on with them.

    Args:
        out: the corpus that is built.
        keys: for each stage a digest of all that its result depends on, in order; a changed key empties its
            folder and those of later stages.
        keep: whether they stay when the block ends well, too.

    Yields:
        The folder of each stage.

    Raises:
        DataError: when another process is building the same corpus.
    """
    place = workplace_of(out)
    with ExitStack() as held:
        try:
            held.enter_context(held_folder(place, f"building {Path(os.path.realpath(out)).name}"))
            _empty_stale(place, keys)
        except OSError as error:
            raise DataError(
                f"Expected to write the corpus {str(out)!r}, found: {error.strerror}; choose a place that you "
                "may write to."
            ) from error
        stages = {stage: place / stage for stage in keys}
        try:
            yield stages
        except BaseException as error:
            if any(any(folder.iterdir()) for folder in stages.values()):
                _say_where(error, place)
                raise
            shutil.rmtree(place, ignore_errors=True)
            raise
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def begun_workplace(out: str | os.PathLike[str], keys: Mapping[str, str]) -> Mapping[str, Path]:
    """The folders of a build that another process began and that may be under way; nothing is locked.

    Args:
        out: as for `workplace`.
        keys: likewise; that of the first stage must be the one it began with.

    Raises:
        DataFormatError: when none was begun, or with other settings or inputs.
    """
    place, first = workplace_of(out), next(iter(keys))
    known = _known(place)
    if known.get(first) != keys[first]:
        raise DataFormatError(
            f"Expected the build of {out} to have begun with the sources that are here, found "
            f"{'others' if known else 'none begun'}; begin it where all machines see the same files."
        )
    return {stage: place / stage for stage in keys}


def _say_where(error: BaseException, place: Path) -> None:
    """Patients' words must not lie somewhere that nobody knows of."""
    if isinstance(error, ChatDoctorError) and error.args:
        said = f"{str(error).rstrip('.')}; what was made so far is kept in {place} until a build succeeds."
        error.args = (said, *error.args[1:])


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


def _known(place: Path) -> dict[str, str]:
    try:
        keys = json.loads((place / _KEYS).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return keys if isinstance(keys, dict) else {}
