"""Rows of a Parquet file as records, a few at a time, refused where the file would fill the machine."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.reading.opening import ArchiveError
from chatdoctor_hub.corpus.reading.records import MAX_RECORD, Fault, Record
from chatdoctor_hub.errors import MissingExtraError

__all__ = ["parquet_rows"]

_BATCH = 256  # rows decoded at once
_SLICE = 16  # rows made into Python values at once
# Declared sizes: text in Parquet compresses by a factor of 3 to 30, and what is below this size is harmless.
_HIGHEST_RATIO = 200
_HARMLESS = 64 * 1024 * 1024
_LARGEST_GROUP = 16 * 1024**3


def parquet_rows(path: Path, columns: Collection[str]) -> Iterator[Record]:
    """The rows, row group by row group; of the columns only the named ones.

    Before a row group is read, the sizes that the file declares for it are held against limits; strings stay
    dictionary-encoded until their lengths are known, so that one long text that a million rows refer to is
    never unfolded.

    Raises:
        MissingExtraError: without pyarrow.
        ArchiveError: when the file is no sound Parquet file, or a row group is beyond the limits.
    """
    try:
        import pyarrow.parquet as pq
    except ImportError:
        raise MissingExtraError("pyarrow", "corpus") from None
    number = 0
    try:
        # Pages are read one after the other, not the whole row group at once.
        with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as plain:
            metadata = plain.metadata
            names = [name for name in plain.schema_arrow.names if name in columns]
            leaves = [metadata.schema.column(index) for index in range(metadata.num_columns)]
            texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        if not names:
            return
        with pq.ParquetFile(path, read_dictionary=texts, buffer_size=1 << 20, pre_buffer=False) as file:
            for group in range(metadata.num_row_groups):
                _check_sizes(metadata.row_group(group), group + 1, path.stat().st_size)
                for batch in file.iter_batches(_BATCH, row_groups=[group], columns=names, use_threads=False):
                    yield from _rows(batch, number)
                    number += batch.num_rows
    except ArchiveError:
        raise
    except Exception as error:  # on damaged files pyarrow raises whatever its C++ code does
        raise ArchiveError("the Parquet data are damaged or of an unknown kind") from error


def _check_sizes(group: Any, number: int, stored: int) -> None:
    # Asking for a damaged column's own sizes ends the process: pyarrow lets a C++ exception through.
    size = group.total_byte_size
    if size > _HARMLESS and (size > stored * _HIGHEST_RATIO or size > _LARGEST_GROUP):
        raise ArchiveError(
            f"row group {number} declares {size:,} bytes in a file of {stored:,}, which is no text of dialogues"
        )
    if size > max(group.num_rows, 1) * MAX_RECORD:
        raise ArchiveError(f"row group {number} declares more than {MAX_RECORD:,} bytes a row")


def _rows(batch: Any, before: int) -> Iterator[Record]:
    long = _long_rows(batch)
    for start in range(0, batch.num_rows, _SLICE):
        if not long:
            values = batch.slice(start, _SLICE).to_pylist()
            yield from (Record(before + start + at, None, row) for at, row in enumerate(values, start=1))
            continue
        for index in range(start, min(start + _SLICE, batch.num_rows)):
            value = None if index in long else batch.slice(index, 1).to_pylist()[0]
            yield Record(before + index + 1, None, value, _TOO_LONG if index in long else None)


_TOO_LONG = Fault("size", f"expected at most {MAX_RECORD:,} bytes in a cell, found more")


def _long_rows(batch: Any) -> set[int]:
    """The rows with a cell that is too long to be of a dialogue."""
    import pyarrow.compute as pc

    long: set[int] = set()
    for column in batch.columns:
        lengths = _lengths(column)
        if lengths is not None and (pc.max(lengths).as_py() or 0) > MAX_RECORD:
            long.update(pc.indices_nonzero(pc.greater(lengths, MAX_RECORD)).to_pylist())
    return long


def _lengths(array: Any) -> Any:
    """The bytes of text in each element, however deep it stands; None where there is no text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    lengths = None
    if pa.types.is_dictionary(kind) and (of_each := _lengths(array.dictionary)) is not None:
        lengths = of_each.take(array.indices)
    elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
        lengths = pc.binary_length(array)
    elif pa.types.is_struct(kind):
        parts = [part for part in map(_lengths, array.flatten()) if part is not None]
        lengths = functools.reduce(pc.add, parts) if parts else None
    elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if (of_each := _lengths(array.flatten())) is None:
            return None
        rows = pa.table({"row": pc.list_parent_indices(array), "bytes": of_each})
        totals = rows.group_by("row").aggregate([("bytes", "sum")]).to_pydict()
        sums = dict(zip(totals["row"], totals["bytes_sum"], strict=True))
        return pa.array([sums.get(index) or 0 for index in range(len(array))], pa.int64())
    return None if lengths is None else pc.fill_null(pc.cast(lengths, pa.int64()), 0)
