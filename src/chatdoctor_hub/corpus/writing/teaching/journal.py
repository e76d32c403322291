"""`Journal`: every reply of a teacher on disk the moment it arrives, so that a killed run goes on.

One JSON record a line, appended and fsync'd; a line that was torn by a kill is cut off when the journal is
opened again. Two processes cannot write to one journal at a time.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from chatdoctor_hub.errors import DataError, DataFormatError, DiskSpaceError

__all__ = ["Journal"]

_FULL = (errno.ENOSPC, errno.EDQUOT)


class Journal:
    """Replies by the key of the task that they belong to, in the order in which they came.

    Args:
        path: a JSONL file, made when absent; None keeps the records in memory only.

    Raises:
        DataFormatError: when a whole line of the file is no record of a journal.
        DataError: when the file cannot be written, or another process writes to it.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = None if path is None else Path(path)
        self._records: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self._handle = -1
        if self.path is not None:
            self._open(self.path)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the file free for others."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def of(self, key: str) -> list[dict[str, Any]]:
        """The records of one task, oldest first."""
        return list(self._records.get(key, ()))

    def add(self, key: str, record: Mapping[str, Any]) -> None:
        """Append a record and see it safely on the disk.

        Raises:
            DiskSpaceError: when the disk is full.
            DataError: when the file cannot be written for another reason.
        """
        entry = {"key": key, **record}
        if self.path is not None:
            line = json.dumps(entry, ensure_ascii=True, sort_keys=True, allow_nan=False) + "\n"
            try:
                _write_whole(self._handle, line.encode("ascii"))
                os.fsync(self._handle)
            except OSError as error:
                raise _told(error, self.path) from error
        self._records[key].append(entry)

    def digest(self, keys: Iterable[str]) -> str:
        """sha256 (hex) over the records of some tasks, whatever the order in which they were written."""
        lines = sorted(
            json.dumps([key, number, record], sort_keys=True)
            for key in set(keys)
            for number, record in enumerate(self._records.get(key, ()))
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def _open(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # The replies are as private as what was asked.
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            _lock(self._handle, path)
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            self.close()
            raise _told(error, path) from error
        except DataError:
            self.close()
            raise
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines(), start=1):
            record = _record(line)
            if record is None:
                self.close()
                raise DataFormatError(
                    f"Expected line {number} of {path} to be a record of a journal of teacher's replies, found "
                    "another content; choose another name for the journal, or remove that line."
                )
            self._records[record["key"]].append(record)
        if whole < len(data):
            # What a kill left of the last line would otherwise be glued to the next one.
            os.ftruncate(self._handle, whole)


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    good = isinstance(record, dict) and isinstance(record.get("key"), str) and "reply" in record
    return record if good else None


def _write_whole(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _lock(handle: int, path: Path) -> None:
    with suppress(ImportError):
        import fcntl

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"Expected the journal {str(path)!r} for this run alone, found another process writing to it; "
                "wait until it has ended, or choose another journal."
            ) from None


def _told(error: OSError | ValueError, path: Path) -> DataError | DiskSpaceError:
    if isinstance(error, OSError) and error.errno in _FULL:
        return DiskSpaceError(
            f"Expected room on the disk for the journal {str(path)!r}, found the disk full; free some space."
        )
    found = getattr(error, "strerror", None) or "a path that no file can have"
    return DataError(
        f"Expected to write the journal {str(path)!r}, found: {found}; choose a place that you may write to."
    )
