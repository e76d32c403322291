"""Where the base of a run is to be had, and a run's records without the folders of this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from chatdoctor_hub.training import RunFolder

__all__ = ["BASE_HERE", "BasePlace", "base_here", "base_place", "last_name", "without_places"]

BASE_HERE = ".base-here"
"""A hidden file of a release, which is never published: the folder of a base that only this machine has."""

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_SNAPSHOT = re.compile(r".*/models--([^/]+)/snapshots/([0-9a-f]{40})/?")
_PLACE = re.compile(r"(?:[/~\\]|\.{1,2}[/\\]|[A-Za-z]:[/\\]).*")


class BasePlace(NamedTuple):
    """The base of a run as others know it.

    Args:
        id: on the Hub; "./" and the last name of a folder of this machine, which the Hub is never asked for.
        revision: the commit of a base that was taken from the Hub's cache; "" for any other.
        here: the folder, of a base that is known to be on this machine only; "" for one of the Hub.
    """

    id: str
    revision: str
    here: str


def base_place(run: RunFolder) -> BasePlace:
    """Where others find the base that a run was tuned from."""
    base = run.manifest.base
    if found := _SNAPSHOT.fullmatch(Path(base.path).as_posix()):
        return BasePlace(found[1].replace("--", "/", 1), found[2], "")
    is_folder = Path(base.path).as_posix().endswith(Path(base.id).as_posix())
    if _HUB_ID.fullmatch(base.id) and not is_folder:
        return BasePlace(base.id, "", "")
    return BasePlace(f"./{last_name(base.id)}", "", str(Path(base.path).resolve()))


def base_here(release: Path) -> Path | None:
    """The folder of a base that only this machine has, where the release was made here and it is still there."""
    try:
        folder = Path((release / BASE_HERE).read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        return None
    return folder if folder.is_dir() else None


def without_places(record: Any) -> Any:
    """Records with only the last name of every folder and file of this machine: the rest is nobody's business."""
    if isinstance(record, dict):
        return {key: without_places(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [without_places(value) for value in record]
    return last_name(record) if isinstance(record, str) and _is_place(record) else record


def last_name(place: str) -> str:
    """Of a path on any system."""
    return re.split(r"[\\/]", place.rstrip("\\/"))[-1] or place


def _is_place(text: str) -> bool:
    if _PLACE.fullmatch(text):
        return True
    try:
        return "/" in text and Path(text).exists()
    except (OSError, ValueError):
        return False
