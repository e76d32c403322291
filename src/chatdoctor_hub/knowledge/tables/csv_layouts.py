"""A disease table from a CSV file, in one of the layouts that `rows` describes."""

from __future__ import annotations

import re
from pathlib import Path

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge.tables.csv_records import Record, read_records
from chatdoctor_hub.knowledge.tables.rows import HEADERS, RowReader, TableProblem, match_columns

__all__ = ["TableProblem", "no_rows", "read_csv"]

_COLUMN_NAME = re.compile(r"\w{1,24}(?:[ ._-]\w{1,24}){0,2}")


def read_csv(path: Path, *, strict: bool = False) -> RowReader:
    """Read a disease table; the result holds its rows, its problems, and what was mended.

    Every row of the file is either in `diseases` or in `problems`. Rows that share a name are all kept
    when they differ (two accounts of one disease are both facts); a row that says the same as an earlier
    one, word for word, is a problem.

    Raises:
        DataNotFoundError: the file is missing or cannot be read.
        DataFormatError: it is not UTF-8, has another layout, or no row of it can be used; with strict, the
            first problem.
    """
    records = read_records(path)
    header = next(records, None)
    columns = match_columns(header.cells) if header else None
    if header is None or columns is None:
        raise DataFormatError(
            f"Expected the first line of {path} to be one of the headers {HEADERS}, found {_describe(header)}; "
            "give the columns these names, or choose another file."
        )
    reader = RowReader(columns, header.cells, path.name, strict=strict)
    for record in records:
        if record.fault:
            reader.fail(record.line, record.fault)
        else:
            reader.read(record.line, record.cells)
    reader.finish()
    if not reader.diseases:
        raise DataFormatError(no_rows(path, reader.problems))
    return reader


def _describe(header: Record | None) -> str:
    """The header that was found, quoted only where it looks like one: it may be a line of someone's words."""
    if header is None:
        return "an empty file"
    if header.fault:
        return f"a line that is not CSV ({header.fault})"
    titles = [title.strip() for title in header.cells]
    if len(titles) <= 16 and all(_COLUMN_NAME.fullmatch(title) or not title for title in titles):
        return ",".join(titles)
    if len(titles) == 1 and re.search(r"[;\t|]", titles[0]):
        return "one column with other separators in it, where commas are needed"
    return f"{len(titles)} cells that are no column names"


def no_rows(path: Path, problems: list[TableProblem]) -> str:
    """The message for a file of which no row could be used."""
    if not problems:
        return (
            f"Expected rows of diseases below the header of {path}, found none; "
            "add rows, or choose another file."
        )
    rows = "the only row" if len(problems) == 1 else f"none of the {len(problems):,} rows"
    verb = "cannot" if len(problems) == 1 else "can"
    return (
        f"Expected rows that can be read below the header of {path}, found that {rows} {verb} be used "
        f"({problems[0]}); mend the file, or choose another."
    )
