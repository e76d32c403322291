"""`Layout`: the way of every dialogue from its part to its place in its shard, with little in memory.

A part's dialogues go to places all over the corpus. They are dealt out to some bins first (a bin holds the
dialogues of one or a few shards, in any order), then each bin is sorted by place and written.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.corpus.building.parts import Part, numpy
from chatdoctor_hub.corpus.shards import parquet, shard_name, write_parquet
from chatdoctor_hub.corpus.splits import SPLITS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Layout"]

_BINS = 128  # files that are open at once
_PLACE = "place"


@dataclass(frozen=True)
class Layout:
    """The shards of a corpus: a name, its first place and the place after its last.

    Args:
        folder: where bins and shards are made, in `bins/` and `data/`.
        shards: in the order of the places.
    """

    folder: Path
    shards: tuple[tuple[str, int, int], ...]

    @classmethod
    def of(cls, folder: Path, dialogues: Mapping[str, int], shard_size: int) -> Layout:
        """The layout of splits of that many dialogues."""
        shards, start = [], 0
        for split in SPLITS:
            end, count = start + dialogues[split], -(-dialogues[split] // shard_size)
            for number in range(count):
                first = start + number * shard_size
                shards.append((shard_name(split, number, count), first, min(first + shard_size, end)))
            start = end
        return cls(folder, tuple(shards))

    @property
    def bins(self) -> list[tuple[tuple[str, int, int], ...]]:
        """The shards, some in each bin where there are many."""
        size = -(-len(self.shards) // _BINS)
        return [self.shards[at : at + size] for at in range(0, len(self.shards), size or 1)]

    def deal(self, parts: Sequence[Part], places: Any) -> Iterator[int]:
        """Deal the dialogues of all parts out to the bins, once; yields the number of dialogues dealt.

        Args:
            parts: in order.
            places: for each of their dialogues its place, or -1 for none.
        """
        pa, _ = parquet()
        bins = self.folder / "bins"
        if bins.is_dir():
            return
        new = self.folder / "bins.new"
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir()
        ends = [own[-1][2] for own in self.bins]
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with ExitStack() as opened:
            writers: list[Any] = []
            base = 0
            for part in parts:
                table = part.dialogues
                own = places[base : base + table.num_rows]
                base += table.num_rows
                if not writers:
                    schema = table.schema.append(pa.field(_PLACE, pa.int64()))
                    writers = [
                        opened.enter_context(
                            pa.ipc.new_stream(os.fspath(new / f"{at}"), schema, options=options)
                        )
                        for at in range(len(ends))
                    ]
                yield _deal_part(table, own, ends, writers)
        new.rename(bins)

    def write(self, number: int) -> int:
        """Write the shards of one bin, unless they are there; the number of dialogues in them."""
        pa, _ = parquet()
        np = numpy()
        shards = self.bins[number]
        rows = shards[-1][2] - shards[0][1]
        if all((self.folder / name).is_file() for name, _, _ in shards):
            return rows
        with pa.OSFile(os.fspath(self.folder / "bins" / f"{number}")) as file:
            table = pa.ipc.open_stream(file).read_all()
        order = np.argsort(table[_PLACE].to_numpy())
        table = table.drop_columns([_PLACE]).take(pa.array(order)).combine_chunks()
        for name, start, end in shards:
            target = self.folder / name
            target.parent.mkdir(exist_ok=True)
            new = target.with_name(f"{target.name}.{secrets.token_hex(4)}.new")
            write_parquet(table.slice(start - shards[0][1], end - start), new)
            new.rename(target)
        return rows

    def hand_over(self, new: Path) -> None:
        """Give the shards, which stay here as well, to a corpus folder on the same disk."""
        (new / "data").mkdir()
        for name, _, _ in self.shards:
            try:
                os.link(self.folder / name, new / name)
            except OSError:  # not on every file system
                shutil.copyfile(self.folder / name, new / name)


def _deal_part(table: pa.Table, places: Any, ends: Sequence[int], writers: Sequence[Any]) -> int:
    pa, _ = parquet()
    np = numpy()
    stay = np.flatnonzero(places >= 0)
    stay = stay[np.argsort(places[stay])]
    own = places[stay]
    sorted_rows = table.take(pa.array(stay)).append_column(_PLACE, pa.array(own)).combine_chunks()
    bounds = [0, *np.searchsorted(own, ends).tolist()]
    for writer, start, end in zip(writers, bounds[:-1], bounds[1:], strict=True):
        if end > start:
            writer.write_table(sorted_rows.slice(start, end - start))
    return len(stay)
