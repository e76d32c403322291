"""A folder of answers of a wiki: `WikipediaCache`."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ChatDoctorError
from chatdoctor_hub.folders import replacing_file

__all__ = ["WikipediaCache"]

_SCHEMA = 1
_log = logging.getLogger(__name__)


class WikipediaCache:
    """Keeps values that JSON can hold, one file each; many processes and threads may share a folder.

    The name of a file is the sha256 of its key, and the key is not kept: what a patient asked cannot be
    read from the folder. A file appears whole or not at all. One that is damaged, or was written by
    another version, counts as absent. Without a folder nothing is kept.

    Args:
        folder: made when something is first kept, for this user only; or None.
        scope: goes into every key: which wiki, and what of it.
    """

    def __init__(self, folder: str | os.PathLike[str] | None, scope: tuple[str, ...]) -> None:
        self.folder = None if folder is None else Path(folder).expanduser()
        self._scope = scope
        self._warned = False

    def get(self, *key: str | int, max_age: float = math.inf) -> Any:
        """The value, or None where there is none, or none that is younger than `max_age` seconds."""
        path = self._path(key)
        if path is None:
            return None
        try:
            entry = json.loads(path.read_bytes())
            value, stored = entry["value"], float(entry["stored"])
            if entry["schema"] != _SCHEMA or entry["sha256"] != _digest(value):
                return None
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None
        age = time.time() - stored
        return value if 0 <= age < max_age or math.isinf(max_age) else None

    def put(self, value: Any, *key: str | int) -> None:
        """Keep the value, in the place of an older one. A folder that cannot be written is told of once."""
        path = self._path(key)
        if path is None or self.folder is None:
            return
        entry = {"schema": _SCHEMA, "stored": time.time(), "sha256": _digest(value), "value": value}
        try:
            if not self.folder.exists():
                with suppress(OSError):
                    self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with replacing_file(path, what="cache entry") as new:
                new.write_text(json.dumps(entry), "ascii")
        except (ChatDoctorError, OSError) as error:
            if not self._warned:
                self._warned = True
                _log.warning("Nothing is kept in the cache %s: %s", self.folder, error)

    def drop(self, *key: str | int) -> None:
        """Forget the value, if there is one."""
        path = self._path(key)
        if path is not None:
            with suppress(OSError):
                path.unlink()

    def _path(self, key: tuple[str | int, ...]) -> Path | None:
        if self.folder is None:
            return None
        name = hashlib.sha256(json.dumps([*self._scope, *key]).encode("ascii")).hexdigest()
        return self.folder / name[:2] / f"{name[2:]}.json"


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode("ascii")).hexdigest()
