"""`SampleWriter`: encoded dialogues written to .npy files as they come."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from chatdoctor_hub.corpus.shards import file_digest

__all__ = ["COLUMNS", "DIGESTS", "SampleWriter", "column_file", "digest_of_columns"]

COLUMNS = {"ids": "<i4", "labelled": "|b1", "offsets": "<i8", "learned": "<i4", "origins": "<i4"}
"""The files of a set of samples and the types of their numbers.

ids and labelled (T,) of all dialogues end to end; offsets (n + 1,) where each begins, and T; learned (n,)
labelled tokens of each; origins (n, 2) its source and its record there, from 1.
"""
DIGESTS = "sha256.json"
_HELD = 1 << 18  # tokens that are held before they are written


def column_file(folder: Path, name: str, column: str) -> Path:
    """The file of a column."""
    return folder / f"{name}.{column}.npy"


def digest_of_columns(digests: Mapping[str, str]) -> str:
    """sha256 (hex) over all that is learned from and of; which records it was does not count."""
    told = "".join(digests[column] for column in ("ids", "labelled", "offsets"))
    return hashlib.sha256(told.encode()).hexdigest()


class SampleWriter:
    """Writes samples one by one, in memory that does not grow with them.

    Args:
        folder: where; it must be there.
        name: "training" or "validation".
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._columns = {
            column: _Column(column_file(folder, name, column), kind) for column, kind in COLUMNS.items()
        }
        self._columns["offsets"].held.append(0)
        self.count = self.tokens = self.labelled = 0

    def __enter__(self) -> SampleWriter:
        return self

    def __exit__(self, *_: object) -> None:
        for column in self._columns.values():
            column.file.close()

    def add(self, ids: Sequence[int], mask: bytes | bytearray, source: int, record: int) -> None:
        """Append a dialogue.

        Args:
            ids: its tokens.
            mask: 1 for each that is learned, else 0.
            source: the number of its source.
            record: its number there, from 1.
        """
        learned = mask.count(1)
        self.count += 1
        self.tokens += len(ids)
        self.labelled += learned
        self._columns["ids"].held.extend(ids)
        self._columns["labelled"].held.frombytes(mask)
        self._columns["offsets"].held.append(self.tokens)
        self._columns["learned"].held.append(learned)
        self._columns["origins"].held.extend((source, record))
        if len(self._columns["ids"].held) >= _HELD:
            for column in self._columns.values():
                column.flush()

    def close(self) -> None:
        """Write the rest, and the digests of the files."""
        for column in self._columns.values():
            column.finish()
        digests = {column: file_digest(column_file(self._folder, self._name, column)) for column in COLUMNS}
        text = json.dumps(digests, indent=2) + "\n"
        (self._folder / f"{self._name}.{DIGESTS}").write_text(text, encoding="utf-8")


class _Column:
    """One .npy file that grows: its header is written again at the end, at the same length."""

    def __init__(self, path: Path, kind: str) -> None:
        self.held = array({"<i4": "i", "|b1": "B", "<i8": "q"}[kind])
        self._kind = kind
        self._pairs = path.name.endswith(".origins.npy")
        self._count = 0
        self.file: IO[bytes] = path.open("wb")
        self._header = self._write_header()

    def flush(self) -> None:
        self._count += len(self.held)
        self.file.write(self._bytes())
        del self.held[:]

    def finish(self) -> None:
        self.flush()
        self.file.seek(0)
        if self._write_header() != self._header:
            raise RuntimeError("the header of an .npy file changed its length")
        self.file.close()

    def _write_header(self) -> int:
        from numpy.lib import format as npy

        shape = (self._count // 2, 2) if self._pairs else (self._count,)
        described: dict[str, Any] = {"descr": self._kind, "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(self.file, described)
        return self.file.tell()

    def _bytes(self) -> bytes:
        import sys

        if sys.byteorder == "big":
            self.held.byteswap()
        return self.held.tobytes()
