"""Records of a CSV file (RFC 4180), with physical line numbers, bounds and recovery.

The standard `csv` reader does the parsing. What is added: a record knows the line it starts on; a
record that cannot be parsed costs its first line and no more (the next line is tried as a new record,
so a stray quote does not swallow the rest of the table); nothing longer than `MAX_RECORD` characters
is ever held in memory.
"""

from __future__ import annotations

import codecs
import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["MAX_CELL", "MAX_RECORD", "Record", "read_records"]

MAX_CELL = 65_536
"""Characters that a cell may have; the longest of ChatDoctor's table has 2,013."""

MAX_RECORD = 4 * MAX_CELL
"""Characters that a record may have, line ends included."""

_SIGNATURES = (
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"PK\x03\x04", "a spreadsheet or another ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
)

# Python reads a byte that is not UTF-8 as one of these.
_FOREIGN_BYTE = re.compile("[\udc80-\udcff]")
_FOREIGN = "expected UTF-8, found bytes of another encoding; save the file in UTF-8"


@dataclass(frozen=True)
class Record:
    """One record of the file.

    Args:
        line: the physical line (from 1) on which it starts.
        cells: its cells as they stand, or empty when `fault` is set.
        fault: why it could not be parsed, or "".
    """

    line: int
    cells: tuple[str, ...] = ()
    fault: str = ""


class _TooLongError(Exception):
    """The record being read is longer than MAX_RECORD."""


class _Lines:
    """The lines of a file, one at a time, some of which can be handed back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self.number = 0  # of the line that was taken last, from 1

    def take(self) -> str | None:
        """The next line with its end, cut to MAX_RECORD + 1 characters; None at the end of the file."""
        if self._returned:
            line = self._returned.popleft()
        else:
            line = self._stream.readline(MAX_RECORD + 1)
            rest = line
            while len(rest) == MAX_RECORD + 1 and not rest.endswith("\n"):
                rest = self._stream.readline(MAX_RECORD + 1)
        if not line:
            return None
        self.number += 1
        return line

    def give_back(self, lines: list[str]) -> None:
        self._returned.extendleft(reversed(lines))
        self.number -= len(lines)


def read_records(path: Path) -> Iterator[Record]:
    """The records of a CSV file in UTF-8 (a byte-order mark is allowed), blank lines left out.

    Line ends may be LF, CRLF or CR; inside a cell they all become LF. The first record is the header:
    a later one with another number of cells has a fault, and so has one with bytes that are not UTF-8.

    Raises:
        DataNotFoundError: the file is missing, is no regular file, or may not be read.
        DataFormatError: its first record is not UTF-8; the message says at which byte.
    """
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no regular file" if path.exists() else "nothing"
            raise DataNotFoundError(f"Expected a CSV file at {path}, found {found} there; check the path.")
        # newline=None: a quoted line end is white space to every reader of these cells.
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
            for number, record in enumerate(_records(_Lines(stream))):
                if number == 0 and (record.fault == _FOREIGN or _has_foreign(record.cells)):
                    raise DataFormatError(_not_utf8(path))
                yield record
    except (DataNotFoundError, DataFormatError):
        raise
    except OSError as error:
        raise DataNotFoundError(
            f"Expected a readable CSV file at {path}, found that it cannot be read "
            f"({error.strerror or type(error).__name__}); check its permissions."
        ) from error


def _records(lines: _Lines) -> Iterator[Record]:
    width = 0
    while True:
        taken: list[str] = []
        start = lines.number + 1
        cells: list[str] = []
        try:
            cells = next(csv.reader(_feed(lines, taken), strict=True))
            fault = _fault(cells, width)
        except StopIteration:
            return
        except _TooLongError:
            fault = f"expected at most {MAX_RECORD:,} characters in a row, found more"
        except csv.Error as error:
            fault = _explain(str(error))
        if fault and any(map(_FOREIGN_BYTE.search, taken[:1])):
            fault = _FOREIGN
        if fault:
            # Perhaps a stray quote joined rows that are sound: each line gets its own chance.
            lines.give_back(taken[1:])
            if len(taken) > 1 and fault != _FOREIGN:
                fault += "; a quote that opens here runs on to a later line"
            yield Record(start, fault=fault)
        elif len(cells) > 1 or any(cell.strip() for cell in cells):
            width = width or len(cells)
            yield Record(start, cells=tuple(cells))


def _feed(lines: _Lines, taken: list[str]) -> Iterator[str]:
    """Lines for one record, kept in `taken` until it is known that they parse."""
    room = MAX_RECORD
    while (line := lines.take()) is not None:
        taken.append(line)
        room -= len(line)
        if room < 0:
            raise _TooLongError
        yield line


def _fault(cells: list[str], width: int) -> str:
    if width and len(cells) != width and any(cell.strip() for cell in cells):
        return f"expected {width} cells, as in the header, found {len(cells)}"
    if width and _has_foreign(cells):
        return _FOREIGN
    for number, cell in enumerate(cells, start=1):
        if len(cell) > MAX_CELL:
            return f"expected at most {MAX_CELL:,} characters in a cell, found {len(cell):,} in cell {number}"
        if "\0" in cell:
            return f"expected text, found a NUL character in cell {number}"
    return ""


def _has_foreign(cells: Iterable[str]) -> bool:
    return any(map(_FOREIGN_BYTE.search, cells))


def _explain(error: str) -> str:
    if "unexpected end" in error:
        return "expected a closing quote, found the end of the file"
    if "expected after" in error:
        return (
            "expected a comma after a closing quote, found more text; double the quotes inside a quoted cell"
        )
    if "field limit" in error:
        return f"expected at most {MAX_CELL:,} characters in a cell, found more"
    if "NUL" in error:
        return "expected text, found a NUL character"
    return f"expected a row of CSV, found that it cannot be parsed ({error})"


def _not_utf8(path: Path) -> str:
    """Where the first byte is that is not UTF-8, in words."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as stream:
        head = stream.read(4)
        stream.seek(0)
        position = line = 0
        while True:
            chunk = stream.read(1 << 20)
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                position += error.start - waiting
                line += error.object[: error.start].count(b"\n") + 1
                break
            position += len(chunk)
            line += chunk.count(b"\n")
            if not chunk:  # pragma: no cover - the file changed between the two readings
                break
    kind = next((name for mark, name in _SIGNATURES if head.startswith(mark)), "")
    looks = f" and the start of {kind}" if kind else ""
    return (
        f"Expected {path} to be CSV text in UTF-8, found a byte at offset {position} (line {line}) that is not "
        f"UTF-8{looks}; save it as CSV in UTF-8."
    )
