"""`Shards`: the dialogues of one split as they lie in Parquet files, read when they are asked for."""

from __future__ import annotations

import hashlib
import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError, MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Shards", "dialogues_in", "file_digest", "parquet", "shard_name", "table_of", "write_parquet"]

_ROW_GROUP = 5_000  # dialogues that are read, and held, at once
_HELD = 2  # row groups that stay in memory
_REPEATING = ["source", "topic", "messages.list.element.role"]


class Shards(Sequence[Dialogue]):
    """A sequence of dialogues that stay in their files until they are asked for.

    The length is known without reading. Iterating holds one row group (some thousand dialogues) at a time;
    so does an index, which makes neighbours cheap and distant jumps cost some milliseconds.

    Args:
        files: the Parquet files, in order, each with its number of dialogues.
    """

    def __init__(self, files: Sequence[tuple[Path, int]]) -> None:
        self._files = [file for file, _ in files]
        self._starts = [0, *itertools.accumulate(rows for _, rows in files)]
        self._bounds: dict[int, list[int]] = {}
        self._held: dict[tuple[int, int], pa.Table] = {}

    def __len__(self) -> int:
        return self._starts[-1]

    @overload
    def __getitem__(self, index: int) -> Dialogue: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Dialogue, ...]: ...
    def __getitem__(self, index: int | slice) -> Dialogue | tuple[Dialogue, ...]:
        numbers = range(len(self))[index]
        if isinstance(numbers, int):
            return next(self._between(numbers, numbers + 1))
        if numbers.step != 1:
            return tuple(self[number] for number in numbers)
        return tuple(self._between(numbers.start, numbers.stop))

    def __iter__(self) -> Iterator[Dialogue]:
        return self._between(0, len(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(one == two for one, two in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} dialogues in {len(self._files)} file(s)>"

    def _between(self, start: int, stop: int) -> Iterator[Dialogue]:
        """The dialogues from `start` up to `stop`, one row group after another."""
        while start < stop:
            number = bisect_right(self._starts, start) - 1
            row = start - self._starts[number]
            bounds = self._bounds_of(number)
            index = bisect_right(bounds, row) - 1
            at = row - bounds[index]
            table = self._group(number, index)
            taken = min(stop - start, table.num_rows - at)
            if taken <= 0:
                raise _other_content(self._files[number])
            yield from dialogues_in(table.slice(at, taken), self._files[number])
            start += taken

    def _bounds_of(self, number: int) -> list[int]:
        """The first row of each row group of a file."""
        if number not in self._bounds:
            with _opened(self._files[number]) as file:
                groups = [file.metadata.row_group(at).num_rows for at in range(file.metadata.num_row_groups)]
            self._bounds[number] = [0, *itertools.accumulate(groups)][:-1] or [0]
        return self._bounds[number]

    def _group(self, number: int, group: int) -> pa.Table:
        table = self._held.get((number, group))
        if table is None:
            with _opened(self._files[number]) as file:
                table = file.read_row_group(group)
            # Threads that read at the same time may hold one more between them, and do no harm.
            for key in list(self._held)[: 1 - _HELD]:
                self._held.pop(key, None)
            self._held[number, group] = table
        return table


def shard_name(split: str, number: int, count: int) -> str:
    """The name of a shard below the corpus folder, as the Hub and `datasets` expect it; numbers from 0."""
    return f"data/{split}-{number:05d}-of-{count:05d}.parquet"


def table_of(dialogues: Iterable[Dialogue]) -> pa.Table:
    """Dialogues as an Arrow table: the strings `id`, `source` and `topic`, and `messages` in the Hub's format.

    Raises:
        DataFormatError: for text that UTF-8 cannot hold.
        MissingExtraError: without pyarrow.
    """
    pa, _ = parquet()
    names: dict[str, list[str]] = {"id": [], "source": [], "topic": []}
    roles: list[str] = []
    contents: list[str] = []
    offsets = [0]
    for item in dialogues:
        for name, column in names.items():
            column.append(getattr(item, name))
        for message in item.to_messages():
            roles.append(message["role"])
            contents.append(message["content"])
        offsets.append(len(roles))
    try:
        texts = [pa.array(column, pa.string()) for column in (roles, contents)]
        message = pa.StructArray.from_arrays(texts, ["role", "content"])
        messages = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), message)
        columns = [pa.array(column, pa.string()) for column in names.values()]
    except (TypeError, ValueError, pa.ArrowException):
        raise DataFormatError(
            "Expected text that UTF-8 can hold, found a dialogue with something else in its words, id, source "
            "or topic; read it with read_dialogues, which repairs it."
        ) from None
    return pa.table([*columns, messages], names=[*names, "messages"])


def dialogues_in(table: pa.Table, file: Path) -> Iterator[Dialogue]:
    """The dialogues of a table as `table_of` makes it.

    Raises:
        DataFormatError: naming `file`, when the table has other columns or holds no dialogues.
    """
    try:
        names = [table.column(name).to_pylist() for name in ("id", "source", "topic")]
        messages = table.column("messages").combine_chunks()
        inner = messages.flatten()
        pairs = list(zip(inner.field("role").to_pylist(), inner.field("content").to_pylist(), strict=True))
        lengths = messages.value_lengths().to_pylist()
        start = 0
        for id, source, topic, length in zip(*names, lengths, strict=True):
            said = [{"role": role, "content": content} for role, content in pairs[start : start + length]]
            start += length
            yield Dialogue.from_messages(said, id=id, source=source, topic=topic)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise _other_content(file) from None


def write_parquet(table: pa.Table, file: Path) -> None:
    """Write dialogues, or any other table, as a Parquet file; the same table gives the same bytes."""
    _, pq = parquet()
    columns = [name for name in _REPEATING if name.split(".")[0] in table.column_names]
    # Statistics would put the first and the last of the words, in full, into the file's footer.
    pq.write_table(
        table,
        file,
        row_group_size=_ROW_GROUP,
        compression="zstd",
        compression_level=1,
        use_dictionary=columns,
        write_statistics=False,
    )


def file_digest(file: Path) -> str:
    """sha256 (hex) of a file's bytes.

    Raises:
        DataNotFoundError: when it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with file.open("rb") as stream:
            while piece := stream.read(1 << 20):
                digest.update(piece)
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "a path that no file can have"
        raise DataNotFoundError(
            f"Expected a file of a corpus at {str(file)!r}, found: {found}; restore it or make the corpus again."
        ) from None
    return digest.hexdigest()


def parquet() -> tuple[Any, Any]:
    """The modules pyarrow and pyarrow.parquet.

    Raises:
        MissingExtraError: when they are not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "corpus") from None
    return pyarrow, pyarrow.parquet


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    pa, pq = parquet()
    try:
        with pq.ParquetFile(file) as opened:
            yield opened
    except FileNotFoundError:
        raise DataNotFoundError(
            f"Expected a file of a corpus at {str(file)!r}, found none; open the corpus again."
        ) from None
    except (pa.ArrowException, OSError, ValueError, IndexError):
        raise _other_content(file) from None


def _other_content(file: Path) -> DataFormatError:
    return DataFormatError(
        f"Expected {file} to be a Parquet file with the columns id, source, topic and messages, found "
        "another content; make the corpus again."
    )
