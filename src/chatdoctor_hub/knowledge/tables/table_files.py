"""A disease table from a JSON Lines or Parquet file, as data sets on the Hub have them.

The columns are those of the CSV layouts (`rows`); a list may be a list, or text as in CSV. Nothing larger than a
batch of rows is ever held: the sizes that a Parquet file states of itself are not believed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError, MissingExtraError
from chatdoctor_hub.knowledge.tables.csv_layouts import no_rows, read_csv
from chatdoctor_hub.knowledge.tables.csv_records import MAX_CELL, MAX_RECORD
from chatdoctor_hub.knowledge.tables.rows import HEADERS, RowReader, match_columns

__all__ = ["SUFFIXES", "read_table_file"]

SUFFIXES = (".csv", ".parquet", ".jsonl", ".ndjson")
"""Endings of the files that can be read."""

_BATCH = 64  # rows of a Parquet file at a time
_MAX_BATCH = 64 << 20  # bytes of one once it is unpacked

_Cells = Sequence[Any]


def read_table_file(path: Path, *, strict: bool = False) -> RowReader:
    """Read a disease table from a CSV, JSON Lines or Parquet file, told by its ending.

    Raises:
        DataNotFoundError: the file is missing or cannot be read.
        DataFormatError: it has another layout, or no row can be used; with strict, the first problem.
        MissingExtraError: pyarrow, which reads Parquet, is not installed.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise DataFormatError(
            f"Expected a table with one of the endings {', '.join(SUFFIXES)}, found {path.name}; convert it."
        )
    if path.suffix.lower() == ".csv":
        return read_csv(path, strict=strict)
    rows = _parquet(path) if path.suffix.lower() == ".parquet" else _json_lines(path)
    reader: RowReader | None = None
    titles: list[str] = []
    try:
        for line, record in rows:
            if reader is None and isinstance(record, dict):
                titles = list(record)
                reader = _reader(path, titles, strict)
            if reader is None:
                raise DataFormatError(
                    f"Expected a row on line {line} of {path}, found that {record}; mend it."
                )
            if isinstance(record, str):
                reader.fail(line, record)
            elif fault := _fault(record, titles):
                reader.fail(line, fault)
            else:
                reader.read(line, ["" if record[title] is None else record[title] for title in titles])
    except OSError as error:
        raise DataNotFoundError(
            f"Expected a readable table at {path}, found that it cannot be read "
            f"({error.strerror or type(error).__name__}); check the path."
        ) from error
    if reader is None or not reader.diseases:
        raise DataFormatError(no_rows(path, reader.problems if reader else []))
    reader.finish()
    return reader


def _reader(path: Path, titles: list[str], strict: bool) -> RowReader:
    columns = match_columns(titles)
    if columns is None:
        found = f"{len(titles)} columns of other names"
        raise DataFormatError(
            f"Expected {path} to have the columns {HEADERS}, found {found}; give the columns these names."
        )
    return RowReader(columns, titles, path.name, strict=strict)


def _fault(record: dict[str, Any], titles: Sequence[str]) -> str:
    """What is wrong with the cells of a row, or ""."""
    if record.keys() != set(titles):
        return f"expected the {len(titles)} columns of the first row, found others"
    for number, title in enumerate(titles, start=1):
        value = record[title]
        items = value if isinstance(value, list) else [value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            record[title] = str(value)
        elif value is not None and not all(isinstance(item, str) for item in items):
            return f"expected text or a list of texts in column {number}, found something else"
        if sum(len(item) for item in items if isinstance(item, str)) > MAX_CELL:
            return f"expected at most {MAX_CELL:,} characters in a cell, found more in cell {number}"
    return ""


def _json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8-sig", errors="surrogateescape") as stream:
        number = 0
        while line := stream.readline(MAX_RECORD + 1):
            number += 1
            if len(line) > MAX_RECORD:
                while line and not line.endswith("\n"):
                    line = stream.readline(MAX_RECORD)
                yield number, f"expected at most {MAX_RECORD:,} characters in a row, found more"
                continue
            if not line.strip():
                continue
            try:
                line.encode("utf-8")
                record = json.loads(line)
            except UnicodeEncodeError:
                yield number, "expected UTF-8, found bytes of another encoding; save the file in UTF-8"
                continue
            except (ValueError, RecursionError):
                record = None
            yield (
                number,
                record if isinstance(record, dict) else "expected a JSON object, found something else",
            )


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtraError("pyarrow", "corpus") from error
    row = 0
    try:
        with pq.ParquetFile(path) as file:
            wide = file.schema_arrow.names
            if match_columns(wide) is None:
                _reader(path, wide, strict=False)  # says so
            for batch in file.iter_batches(batch_size=_BATCH):
                if batch.nbytes > _MAX_BATCH:
                    raise DataFormatError(
                        f"Expected rows of at most {MAX_CELL:,} characters a cell in {path}, found {_BATCH} rows "
                        f"of {batch.nbytes >> 20:,} MiB from row {row + 1} on; choose another file."
                    )
                for record in batch.to_pylist():
                    row += 1
                    yield row, record
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        if getattr(error, "errno", None):  # of the system; without a number it is Arrow's
            raise
        raise DataFormatError(
            f"Expected {path} to be a Parquet file, found one that cannot be read after row {row}; "
            "write it again, or choose another file."
        ) from error
