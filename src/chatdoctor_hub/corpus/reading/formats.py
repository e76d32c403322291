"""`records_of`: the records of a file, its format told from the content and not from the name."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from chatdoctor_hub.corpus.reading.delimited import SEPARATORS, csv_rows, header_of
from chatdoctor_hub.corpus.reading.json_values import json_items, json_lines, parse_json
from chatdoctor_hub.corpus.reading.layouts import COLUMNS, KNOWN_LAYOUTS, layout_of
from chatdoctor_hub.corpus.reading.opening import ArchiveError, open_bytes
from chatdoctor_hub.corpus.reading.parquet_rows import parquet_rows
from chatdoctor_hub.corpus.reading.records import MAX_RECORD, Fault, Record
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["records_of"]

_HEAD = 1 << 16
_BOM = codecs.BOM_UTF8
_SPACE = b" \t\r\n"  # of JSON; a form feed is none
# The byte-order mark of UTF-32 begins with that of UTF-16.
_OTHER_TEXT = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or a spreadsheet",
    b"\x80\x04": "a pickle, which could run any code and is never read",
    b"\x80\x03": "a pickle, which could run any code and is never read",
    b"ARROW1": "an Arrow file",
    b"%PDF": "a PDF",
    b"SQLite format 3": "an SQLite database",
}
_OBJECT_OF_OBJECTS = re.compile(rb'[ \t\r\n]*\{\s*"((?:[^"\\]|\\.){0,200})"\s*:\s*[\[{]')


def records_of(path: Path) -> Iterator[Record]:
    """The records of a JSON, JSON Lines, CSV, TSV or Parquet file, the text ones also in gzip or Zstandard.

    A fault in the middle of a file ends in a last record that tells it.

    Raises:
        DataNotFoundError: when the file does not exist or cannot be read.
        DataFormatError: when it is empty, in another encoding than UTF-8 as a whole, or in no such format.
        MissingExtraError: when its format needs a package that is not installed.
    """
    number = 0
    try:
        for record in _records(path):
            yield record
            number = record.number
    except ArchiveError as error:
        yield Record(number + 1, None, None, Fault("file", f"{error}: the file was not read on"))
    except FileNotFoundError:
        raise DataNotFoundError(
            f"Expected a file of dialogues at {path}, found none; check the path."
        ) from None
    except DataNotFoundError:
        raise
    except OSError as error:
        raise DataNotFoundError(
            f"Expected to read dialogues from {str(path)!r}, found: {error.strerror or type(error).__name__}; "
            "check the path and its permissions."
        ) from None


def _records(path: Path) -> Iterator[Record]:
    with open_bytes(path) as stream:
        head = stream.read(_HEAD)
        if head.startswith(b"PAR1"):
            yield from parquet_rows(path, COLUMNS)
            return
        _refuse_foreign(path, head)
        head = head.removeprefix(_BOM)
        start = head.lstrip(_SPACE)
        if not start and len(head) < _HEAD:
            raise DataFormatError(
                f"Expected {path} to hold {KNOWN_LAYOUTS}, found an empty file; add dialogues to it."
            )
    with open_bytes(path) as stream:
        if start.startswith(b"[") and not _is_lines_of_lists(start):
            yield from json_items(stream)
        elif separator := _separator(path, start):
            yield from csv_rows(stream, separator)
        else:
            yield from _lines_or_object(stream, path, head)


def _refuse_foreign(path: Path, head: bytes) -> None:
    # Every second byte of UTF-16 is NUL where the text is JSON or CSV; a file of NULs alone is just broken.
    is_wide = len(head) > 1 and (head[0] == 0) != (head[1] == 0)
    if head.startswith(_OTHER_TEXT) or is_wide:
        raise DataFormatError(
            f"Expected {path} to be text in UTF-8, found UTF-16 or UTF-32; save it again as UTF-8."
        )
    for mark, kind in _FOREIGN.items():
        if head.startswith(mark):
            raise DataFormatError(
                f"Expected {path} to be JSON, JSON Lines, CSV or Parquet, found {kind}; export it as one of "
                "these."
            )


def _separator(path: Path, start: bytes) -> str:
    """What separates the cells, or "" where the file is not CSV."""
    if start.startswith(b"{"):
        return ""
    line = re.split(rb"[\r\n]", start, maxsplit=1)[0].decode("utf-8", "replace")
    for separator in SEPARATORS:
        if layout_of(header_of(line, separator)):
            return separator
    name = path.name.casefold().removesuffix(".gz").removesuffix(".zst")
    return {".csv": ",", ".tsv": "\t"}.get(name[-4:], "")


def _is_lines_of_lists(start: bytes) -> bool:
    first, _, rest = start.partition(b"\n")
    return rest.lstrip().startswith(b"[") and not isinstance(_try(first), Fault)


def _lines_or_object(stream: BinaryIO, path: Path, head: bytes) -> Iterator[Record]:
    """One record a line, or an object: one record, or a record a member."""
    first, is_whole = _first_line(path)
    value = _try(first)
    if not isinstance(value, Fault):
        if is_whole and isinstance(value, dict) and _is_object_of_records(value):
            yield from json_items(stream)
        else:
            yield from json_lines(stream)
        return
    found = _OBJECT_OF_OBJECTS.match(head)
    if found and not layout_of((found[1].decode("utf-8", "replace"),)):
        yield from json_items(stream)
        return
    if any(not isinstance(_try(line), Fault) for line in head.split(b"\n")[1:-1] if line.strip()):
        yield from json_lines(stream)
        return
    whole = stream.read(MAX_RECORD + 1)
    if len(whole) > MAX_RECORD:
        with open_bytes(path) as again:
            yield from json_lines(again)
        return
    value = _try(whole.removeprefix(_BOM))
    fault = value if isinstance(value, Fault) else None
    yield Record(1, None, None if fault else value, fault)


def _first_line(path: Path) -> tuple[bytes, bool]:
    """The first line that is not blank, and whether nothing follows it."""
    with open_bytes(path) as stream:
        line = stream.readline(MAX_RECORD + 1).removeprefix(_BOM)
        while line and not line.strip():
            line = stream.readline(MAX_RECORD + 1)
        return line, not stream.read(_HEAD).strip()


def _is_object_of_records(value: dict[str, object]) -> bool:
    items = list(value.values())
    return (
        bool(items) and not layout_of(tuple(value)) and all(isinstance(item, (dict, list)) for item in items)
    )


def _try(data: bytes) -> object:
    try:
        return parse_json(data.decode())
    except UnicodeDecodeError as error:
        where = f"another byte at offset {error.start}"
        return Fault("encoding", f"expected text in UTF-8, found {where}", where)
