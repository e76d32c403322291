"""`Samples`: encoded dialogues that lie in files and are read when they are asked for."""

from __future__ import annotations

import json
import mmap
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from chatdoctor_hub.corpus.shards import file_digest
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.data.writer import COLUMNS, DIGESTS, column_file, digest_of_columns

if TYPE_CHECKING:
    import numpy

__all__ = ["Samples"]

_FORGET = 1 << 21  # tokens handed out after which the pages they lie on are given back


class Samples(Sequence[Encoded]):
    """A sequence of encoded dialogues in memory-mapped files.

    An index reads one dialogue, wherever it lies; what stays in memory does not grow with their number but
    for two counts of each.

    Args:
        folder: what a `SampleWriter` wrote.
        name: "training" or "validation".
        sources: the names of the sources that records are counted in.
        loss_on: what is learned: "doctor", "last" or "all".
        keeper: kept alive as long as this is; it may remove the folder when it goes.

    Attributes:
        lengths: int32 (n,), the tokens of each.
        learned: int32 (n,), the labelled tokens of each.
        digest: sha256 (hex) over all ids and masks.

    Raises:
        DataFormatError: when a file is missing or is not as it was written.
    """

    lengths: numpy.ndarray[Any, Any]
    learned: numpy.ndarray[Any, Any]

    def __init__(
        self, folder: Path, name: str, sources: Sequence[str], loss_on: str = "doctor", keeper: object = None
    ) -> None:
        import numpy

        self.sources = tuple(sources)
        self.loss_on = loss_on
        self._keeper = keeper
        self.digest = _verified(folder, name)
        loaded: dict[str, Any] = {column: _load(column_file(folder, name, column)) for column in COLUMNS}
        self._maps = [found for item in loaded.values() if (found := getattr(item, "_mmap", None))]
        # Plain arrays on the same memory: slices of them cost a tenth of a memmap's.
        self._ids, self._labelled = numpy.asarray(loaded["ids"]), numpy.asarray(loaded["labelled"])
        self._offsets = numpy.asarray(loaded["offsets"])
        self._origins = numpy.asarray(loaded["origins"])
        self.learned = numpy.array(loaded["learned"])
        self.lengths = numpy.diff(self._offsets).astype(numpy.int32)
        self._handed = 0

    def __len__(self) -> int:
        return len(self.lengths)

    @overload
    def __getitem__(self, index: int) -> Encoded: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Encoded, ...]: ...
    def __getitem__(self, index: int | slice) -> Encoded | tuple[Encoded, ...]:
        if isinstance(index, slice):
            return tuple(self[number] for number in range(len(self))[index])
        number = range(len(self))[index]
        start, stop = int(self._offsets[number]), int(self._offsets[number + 1])
        self._forget(stop - start)
        return Encoded(self._ids[start:stop], self._labelled[start:stop])

    def __iter__(self) -> Iterator[Encoded]:
        return (self[number] for number in range(len(self)))

    def __repr__(self) -> str:
        return f"<{len(self)} encoded dialogues, {self.tokens} tokens>"

    @property
    def tokens(self) -> int:
        """Tokens of all."""
        return int(self._offsets[-1])

    @property
    def labelled_tokens(self) -> int:
        """Tokens that are learned."""
        return int(self.learned.sum(dtype="int64"))

    def record(self, index: int) -> str:
        """Which record of which source a sample is, for messages: "record 17 of data.jsonl"."""
        source, number = (int(value) for value in self._origins[index])
        return f"record {number} of {self.sources[source]}"

    def blocks(self, tokens: int) -> Iterator[tuple[int, Any, Any, Any]]:
        """All samples in blocks of about so many tokens.

        Yields:
            The index of the first, its ids (T,), labels (T,) and where each sample begins in them, and T.
        """
        import numpy

        start = 0
        while start < len(self):
            limit = self._offsets[start] + tokens
            stop = max(start + 1, int(numpy.searchsorted(self._offsets, limit, side="right")) - 1)
            low, high = int(self._offsets[start]), int(self._offsets[stop])
            self._forget(high - low)
            yield start, self._ids[low:high], self._labelled[low:high], self._offsets[start : stop + 1] - low
            start = stop

    def _forget(self, tokens: int) -> None:
        """Give the pages of the files back now and then: they are read again when they are needed."""
        self._handed += tokens
        if self._handed < _FORGET or not hasattr(mmap, "MADV_DONTNEED"):
            return
        self._handed = 0
        for mapped in self._maps:
            with suppress(OSError, ValueError):
                mapped.madvise(mmap.MADV_DONTNEED)


def _verified(folder: Path, name: str) -> str:
    """The digest of what is stored, after the files were compared with it."""
    file = folder / f"{name}.{DIGESTS}"
    try:
        recorded = json.loads(file.read_text(encoding="utf-8"))
        good = all(recorded[column] == file_digest(column_file(folder, name, column)) for column in COLUMNS)
    except (OSError, ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise DataFormatError(
            f"Expected the encoded dialogues in {folder} as they were written, found others; remove the folder "
            "to have them encoded again."
        )
    return digest_of_columns(recorded)


def _load(file: Path) -> Any:
    import numpy

    # Nothing cannot be mapped.
    empty = numpy.load(file, allow_pickle=False, mmap_mode=None) if file.stat().st_size <= 256 else None
    if empty is not None:
        return empty
    return numpy.load(file, allow_pickle=False, mmap_mode="r")
