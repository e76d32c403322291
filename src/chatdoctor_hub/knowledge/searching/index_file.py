"""The file of a disease index: a SQLite database that is written once, checked, and then only read.

    meta      key, value: rows, the table's digest and source, the embedding model
    diseases  id (row number from 1), the row as JSON, deflated
    postings  term, the most it adds, rows and weights as little-endian arrays (`weighing.Posting`)
    arrays    name, data: what is needed whole (the numbers of shared names, embedding vectors)

Two fields of SQLite's header are used: `user_version` is "CD" and the version of this layout, and
`application_id` is the CRC-32 of every other byte of the file, so that a damaged file is known before it is
asked. SQLite's own index for full text (FTS5, porter stems) is not used, because it knows neither pairs nor whole
symptoms and cannot stop early: `bench/search.py` gives hit@1 .38 against .50 on the held-out half, and 142 ms
against 5 ms of one core for a query over 100,000 rows.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sqlite3
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge.disease import Disease, Medication
from chatdoctor_hub.knowledge.searching.weighing import Posting

__all__ = ["VERSION", "array_bytes", "connect", "disease_of", "posting_of", "write_index"]

VERSION = 1
"""Of the layout; a file of another version is refused."""

_MARK = 0x4344 << 16  # "CD"
_MAGIC = b"SQLite format 3\0"
_USER_VERSION = slice(60, 64)
_APPLICATION_ID = slice(68, 72)
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE diseases (id INTEGER PRIMARY KEY, row BLOB NOT NULL);
CREATE TABLE postings (term TEXT PRIMARY KEY, top INTEGER NOT NULL, rows BLOB NOT NULL, weights BLOB NOT NULL);
CREATE TABLE arrays (name TEXT PRIMARY KEY, data BLOB NOT NULL);
"""


def write_index(
    path: Path,
    meta: Mapping[str, str],
    diseases: Iterable[Disease],
    postings: Iterable[tuple[str, Posting]],
    arrays: Mapping[str, bytes],
) -> None:
    """Write the file, which is not there yet, and bring it to the disk."""
    connection = sqlite3.connect(path)
    try:
        # Nobody sees the file before it is complete: a journal would only cost time.
        connection.executescript("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;" + _SCHEMA)
        connection.execute(f"PRAGMA user_version={_MARK | VERSION}")
        connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())
        connection.executemany("INSERT INTO diseases VALUES (?, ?)", enumerate(map(_packed, diseases), 1))
        connection.executemany(
            "INSERT INTO postings VALUES (?, ?, ?, ?)",
            (
                (term, found.top, array_bytes(found.rows), array_bytes(found.weights))
                for term, found in postings
            ),
        )
        connection.executemany("INSERT INTO arrays VALUES (?, ?)", arrays.items())
        connection.commit()
    finally:
        connection.close()
    with path.open("r+b") as file:
        checksum = _checksum(file)
        file.seek(_APPLICATION_ID.start)
        file.write(checksum.to_bytes(4, "big"))
        file.flush()
        os.fsync(file.fileno())


def connect(path: Path, *, verify: bool) -> sqlite3.Connection:
    """A connection for reading, which any thread may use, one at a time.

    Args:
        path: the file.
        verify: read the whole file first and compare its checksum.

    Raises:
        DataNotFoundError: there is no such file, or it cannot be read.
        DataFormatError: it is no index, one of another version, or damaged.
    """
    try:
        with path.open("rb") as file:
            header = file.read(100)
            _check_header(path, header)
            if verify and _checksum(file) != int.from_bytes(header[_APPLICATION_ID], "big"):
                raise DataFormatError(
                    f"Expected the disease index {path} as it was built, found it damaged; build it again."
                )
    except OSError as error:
        if isinstance(error, DataNotFoundError):
            raise
        raise DataNotFoundError(
            f"Expected a disease index at {path}, found none that can be read "
            f"({error.strerror or type(error).__name__}); check the path, or build it with DiseaseIndex.build."
        ) from error
    # Immutable: a rebuild takes the name and leaves this file as it is to those who have it open.
    uri = path.absolute().as_uri() + "?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def _check_header(path: Path, header: bytes) -> None:
    stamp = int.from_bytes(header[_USER_VERSION], "big")
    if len(header) < 100 or not header.startswith(_MAGIC) or stamp >> 16 != _MARK >> 16:
        raise DataFormatError(
            f"Expected {path} to be a disease index, found a file of another kind; "
            "build one with DiseaseIndex.build."
        )
    if stamp & 0xFFFF != VERSION:
        raise DataFormatError(
            f"Expected the disease index {path} in version {VERSION} of its layout, found version "
            f"{stamp & 0xFFFF}; build it again with DiseaseIndex.build."
        )


def _checksum(file: Any) -> int:
    """CRC-32 of the file from its start, but for the field that holds it."""
    file.seek(0)
    head = bytearray(file.read(100))
    head[_APPLICATION_ID] = bytes(4)
    checksum = zlib.crc32(head)
    while chunk := file.read(1 << 20):
        checksum = zlib.crc32(chunk, checksum)
    return checksum


def posting_of(top: int, rows: bytes, weights: bytes) -> Posting:
    """A posting as it was before it was written."""
    return Posting(_array("I", rows), _array("H", weights), top)


def disease_of(row: bytes) -> Disease:
    """A disease as it was before it was written, but for the raw cells, which are not kept here."""
    values: dict[str, Any] = {"name": "", "symptoms": ()}  # what is empty was not written
    for key, value in json.loads(zlib.decompress(row)).items():
        values[key] = tuple(value) if isinstance(value, list) else value
    values["medications"] = tuple(
        Medication(name, tuple(examples)) for name, examples in values.get("medications", ())
    )
    return Disease(**values)


def _packed(disease: Disease) -> bytes:
    values = {
        field.name: getattr(disease, field.name)
        for field in dataclasses.fields(disease)
        if field.name not in ("raw", "medications") and getattr(disease, field.name)
    }
    values["medications"] = [(item.name, item.examples) for item in disease.medications]
    # Plain ASCII: a lone surrogate, which UTF-8 has no bytes for, survives as an escape.
    return zlib.compress(json.dumps(values, separators=(",", ":")).encode("ascii"))


def _array(kind: str, data: bytes) -> array[int]:
    found = array(kind, data)
    if sys.byteorder == "big":
        found.byteswap()
    return found


def array_bytes(numbers: array[int]) -> bytes:
    """The numbers as the file has them: little-endian."""
    if sys.byteorder == "big":
        numbers = array(numbers.typecode, numbers)
        numbers.byteswap()
    return numbers.tobytes()
