"""`SketchFile`: the MinHash signatures of millions of dialogues on the disk, read as an array is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.building.parts import Part, numpy

__all__ = ["SketchFile"]


class SketchFile:
    """Rows of a file of signatures, by slices and by arrays of row numbers.

    A memory map would do the same, but what is read of it counts as this process's memory until the system
    needs the room, and more is mapped than is read: in the end all of 2.4 million signatures (1.2 GB).

    Args:
        file: as `write` makes it.
    """

    def __init__(self, file: Path) -> None:
        mapped = numpy().load(file, mmap_mode="r")
        self.shape: tuple[int, int] = mapped.shape
        self.ndim = mapped.ndim
        self.dtype = mapped.dtype
        self.nbytes = mapped.nbytes
        self._start = mapped.offset
        self._file = file.open("rb", buffering=0)

    @classmethod
    def write(cls, file: Path, parts: Sequence[Part], stays: Any) -> SketchFile:
        """The signatures of the dialogues that stay, of all parts in turn.

        Args:
            file: to write.
            parts: that have signatures.
            stays: for each dialogue of the parts whether it stays; at least one does.
        """
        np = numpy()
        base = 0
        with file.open("wb") as stream:
            for part in parts:
                sketches = part.sketches
                if not stream.tell():
                    shape = (int(np.count_nonzero(stays)), sketches.shape[1])
                    header = {"descr": sketches.dtype.str, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(stream, header)
                stream.write(np.ascontiguousarray(sketches[stays[base : base + len(sketches)]]).data)
                base += len(sketches)
        return cls(file)

    def close(self) -> None:
        """Close the file; no row can be read from then on."""
        self._file.close()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> Any:
        np = numpy()
        if isinstance(rows, slice):
            numbers = range(len(self))[rows]
            found = np.empty((len(numbers), self.shape[1]), self.dtype)
            self._read(numbers.start, found)
            return found
        found = np.empty((len(rows), self.shape[1]), self.dtype)
        for place, row in zip(found, rows.tolist(), strict=True):
            self._read(row, place)
        return found

    def _read(self, row: int, into: Any) -> None:
        """Fill an array with what stands in the file from a row on."""
        self._file.seek(self._start + row * self.shape[1] * self.dtype.itemsize)
        room = memoryview(into).cast("B") if into.size else memoryview(b"")
        while room:
            count = self._file.readinto(room)
            if not count:
                raise EOFError(f"{self._file.name} ends before row {row + 1}")
            room = room[count:]
