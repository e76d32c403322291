"""Rows of CSV and TSV files as records, a broken row costing its first line and no more.

`knowledge.csv_records` does the same for one table of diseases in UTF-8; here a line in another encoding is a
fault of its row, the separator is told from the header, and a file may be compressed and of any length.
"""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from chatdoctor_hub.corpus.reading.records import MAX_RECORD, Fault, Record

__all__ = ["SEPARATORS", "csv_rows", "header_of"]

SEPARATORS = (",", "\t", ";", "|")
"""What may stand between the cells, in the order in which it is tried."""

_TOO_LONG = Fault("size", f"expected at most {MAX_RECORD:,} characters in a row, found more")


class _Lines:
    """The lines of a text, one at a time, some of which can be handed back."""

    def __init__(self, stream: BinaryIO) -> None:
        # Every kind of line end becomes LF: a quoted one is white space to whoever reads the cell.
        self._text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline=None)
        self._returned: deque[str] = deque()
        self.number = 0  # of the line that was taken last, from 1
        self.taken: list[str] = []  # since the last row
        self.room = MAX_RECORD

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._returned:
            line = self._returned.popleft()
        else:
            line = self._text.readline(MAX_RECORD + 1)
            rest = line
            while len(rest) == MAX_RECORD + 1 and not rest.endswith("\n"):
                rest = self._text.readline(MAX_RECORD + 1)
        if not line:
            raise StopIteration
        self.number += 1
        self.taken.append(line)
        self.room -= len(line)
        if self.room < 0:
            raise _TooLongError
        return line

    def begin(self) -> int:
        """Forget the last row; the number of the line on which the next one starts."""
        self.taken.clear()
        self.room = MAX_RECORD
        return self.number + 1

    def give_back(self) -> None:
        """All lines of the row but the first."""
        again = self.taken[1:]
        self._returned.extendleft(reversed(again))
        self.number -= len(again)


class _TooLongError(Exception):
    """The row being read is longer than MAX_RECORD."""


def header_of(line: str, separator: str) -> tuple[str, ...]:
    """The names of the columns: lower case, inner white space as one underscore."""
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return ()
    return tuple("_".join(cell.casefold().split()) for cell in cells)


def csv_rows(stream: BinaryIO, separator: str) -> Iterator[Record]:
    """The rows below the header as dicts; blank rows are left out.

    Line ends may be LF, CRLF or CR; inside a cell they become LF. Quotes are read strictly (RFC 4180): a row
    with a fault is reported, and each line after its first gets a chance as a row of its own.
    """
    lines = _Lines(stream)
    header: tuple[str, ...] = ()
    number = 0
    for start, cells, fault in _parsed(lines, separator):
        if not header:
            header = tuple("_".join(cell.casefold().split()) for cell in cells)
            if fault:
                yield Record(1, start, None, fault)
                return
            continue
        if not fault and not any(cell.strip() for cell in cells):
            continue
        number += 1
        fault = fault or _fault(cells, len(header))
        yield Record(number, start, None if fault else dict(zip(header, cells, strict=True)), fault)


def _parsed(lines: _Lines, separator: str) -> Iterator[tuple[int, list[str], Fault | None]]:
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        start = lines.begin()
        try:
            yield start, next(reader), None
            continue
        except StopIteration:
            return
        except _TooLongError:
            fault = _TOO_LONG
        except csv.Error as error:
            fault = Fault("csv", _explain(str(error)))
        # Perhaps a stray quote joined rows that are sound: each line gets its own chance.
        if len(lines.taken) > 1:
            fault = fault._replace(reason=fault.reason + "; a quote that opens here runs on to a later line")
        lines.give_back()
        reader = csv.reader(lines, delimiter=separator, strict=True)
        yield start, [], fault


def _fault(cells: Iterable[str], width: int) -> Fault | None:
    cells = list(cells)
    if len(cells) != width:
        return Fault("csv", f"expected {width} cells, as in the header, found {len(cells)}")
    for number, cell in enumerate(cells, start=1):
        if not cell.isascii() and any("\udc80" <= sign <= "\udcff" for sign in cell):
            return Fault("encoding", f"expected text in UTF-8, found another byte in cell {number}")
    return None


def _explain(error: str) -> str:
    if "unexpected end" in error:
        return "expected a closing quote, found the end of the file"
    if "expected after" in error:
        return "expected a separator after a closing quote, found more text; double the quotes inside a cell"
    if "field limit" in error or "field larger" in error:
        return f"expected at most {csv.field_size_limit():,} characters in a cell, found more"
    if "NUL" in error:
        return "expected text, found a NUL character"
    return "expected a row of CSV, found that it cannot be parsed"
