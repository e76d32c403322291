"""`PartMaker`: some thousand records cleaned and measured, as files that the rest of a build works from.

A part is a folder. It holds the dialogues that are kept so far (`dialogues.arrow`, and their ids and sources
once more in `names.arrow`), what is compared of them
(`keys.npy`: digests; `sketches.npy`: MinHash signatures; `leaks.json`), what was left out and why
(`rejected.arrow`) and what was changed (`counts.json`). A part depends on its records and settings alone and is
whole or not there, so that parts can be made by any process, in any order, once.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.corpus.building.steps import CleaningRules, Rejection, clean_record
from chatdoctor_hub.corpus.cleaning import LeakChecker, Sketcher, spoken_text
from chatdoctor_hub.corpus.reading import RecordProblem
from chatdoctor_hub.corpus.record import Rejected, rejected_table
from chatdoctor_hub.corpus.shards import dialogues_in, parquet, table_of
from chatdoctor_hub.corpus.splits import opening_words, rank_of
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import MissingExtraError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PART_SIZE", "Part", "PartMaker", "numpy", "read_arrow", "write_arrow"]

PART_SIZE = 4096  # records


@dataclass(frozen=True)
class Part:
    """A part that was made.

    Args:
        folder: where it lies.
    """

    folder: Path

    @property
    def counts(self) -> dict[str, Any]:
        """The numbers of records "read" and "kept", and "changes", a count per step and kind."""
        counts: dict[str, Any] = json.loads((self.folder / "counts.json").read_text("utf-8"))
        return counts

    @property
    def keys(self) -> Any:
        """A numpy record a dialogue: digest (32 bytes), rank (16), owner (8), turns (a number)."""
        return numpy().load(self.folder / "keys.npy")

    @property
    def sketches(self) -> Any:
        """The signatures, (dialogues, permutations)."""
        return numpy().load(self.folder / "sketches.npy")

    @property
    def leaks(self) -> list[dict[str, Any]]:
        """For each dialogue that repeats an evaluation record "row", "id", "other", "similarity" and "kind"."""
        leaks: list[dict[str, Any]] = json.loads((self.folder / "leaks.json").read_text("utf-8"))
        return leaks

    @property
    def dialogues(self) -> pa.Table:
        """The dialogues as an Arrow table."""
        return read_arrow(self.folder / "dialogues.arrow")

    @property
    def names(self) -> pa.Table:
        """The dialogues' ids and sources alone."""
        return read_arrow(self.folder / "names.arrow")

    @property
    def rejected(self) -> pa.Table:
        """What was left out, as `rejected_table` makes it."""
        return read_arrow(self.folder / "rejected.arrow")


@dataclass(frozen=True)
class PartMaker:
    """What is done to every record of a corpus by itself.

    Args:
        folder: that the parts are made in.
        rules: of `clean_record`.
        seed: of the splits.
        sketched: whether near-duplicates will be looked for.
        evaluation: an Arrow file of the dialogues that none may repeat, cleaned like these; or None.
        leak_threshold: the Jaccard similarity that is a leak.
    """

    folder: Path
    rules: CleaningRules
    seed: int = 0
    sketched: bool = True
    evaluation: Path | None = None
    leak_threshold: float = 0.8

    def part(self, number: int) -> Part:
        """The part of that number, made or not."""
        return Part(self.folder / f"{number:06d}")

    def make(self, number: int, source: str, records: Sequence[Dialogue | RecordProblem]) -> Part:
        """Clean the records and write the part.

        Args:
            number: of the part, from 0.
            source: the name of the source that the records come from.
            records: in the order of the source.
        """
        counts: Counter[tuple[str, str]] = Counter()
        kept: list[Dialogue] = []
        rejected: list[Rejected] = []
        for record in records:
            if isinstance(record, RecordProblem):
                file = record.file or source
                rejected.append(Rejected(file, "", record.record, record.line, "read", record.reason))
                continue
            clean = clean_record(record, self.rules, counts)
            if isinstance(clean, Rejection):
                rejected.append(Rejected(record.source, record.id, None, None, clean.step, clean.reason))
            else:
                kept.append(clean)
        changes: dict[str, dict[str, int]] = {}
        for (step, kind), count in sorted(counts.items()):
            changes.setdefault(step, {})[kind] = count
        told = {"source": source, "read": len(records), "kept": len(kept), "changes": changes}
        return self._write(number, kept, rejected, told)

    def _write(
        self, number: int, kept: list[Dialogue], rejected: list[Rejected], counts: dict[str, Any]
    ) -> Part:
        part = self.part(number)
        new = part.folder.with_name(f"{part.folder.name}.{secrets.token_hex(4)}.new")
        new.mkdir(parents=True)
        table = table_of(kept)
        write_arrow(table, new / "dialogues.arrow")
        # In a file of their own, since columns read from a larger one may keep all of its bytes in memory.
        write_arrow(table.select(["id", "source"]), new / "names.arrow")
        write_arrow(rejected_table(rejected), new / "rejected.arrow")
        (new / "counts.json").write_text(json.dumps(counts), "utf-8")
        (new / "leaks.json").write_text(json.dumps(self._leaks(kept)), "utf-8")
        np = numpy()
        np.save(new / "keys.npy", self._keys(kept))
        if self.sketched:
            np.save(new / "sketches.npy", _sketcher().sketch_many(map(spoken_text, kept)))
        try:
            new.rename(part.folder)
        except OSError:
            if not part.folder.is_dir():
                raise
            shutil.rmtree(new)  # a process that outlived its build had made it; it made the same
        return part

    def _keys(self, kept: list[Dialogue]) -> Any:
        np = numpy()
        fields = [("digest", "u1", 32), ("rank", "u1", 16), ("owner", "u1", 8), ("turns", "<u4")]
        packed = b"".join(
            bytes.fromhex(item.digest)
            + rank_of(opening_words(item), self.seed)[:16]
            + hashlib.blake2b(f"{item.source}\n{item.id}".encode(), digest_size=8).digest()
            + len(item.turns).to_bytes(4, "little")
            for item in kept
        )
        return np.frombuffer(packed, np.dtype(fields))

    def _leaks(self, kept: list[Dialogue]) -> list[dict[str, Any]]:
        if self.evaluation is None:
            return []
        found_now = self.evaluation.stat()
        checker = _checker(self.evaluation, self.leak_threshold, found_now.st_mtime_ns, found_now.st_ino)
        found = []
        for row, item in enumerate(kept):
            if leaks := checker.check(item):
                worst = leaks[0]
                told = {
                    "other": worst.evaluation_id,
                    "similarity": round(worst.similarity, 3),
                    "kind": worst.kind,
                }
                found.append({"row": row, "id": item.id, **told})
        return found


def write_arrow(table: pa.Table, file: Path) -> None:
    """Write a table as an Arrow file."""
    pa, _ = parquet()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_file(os.fspath(file), table.schema, options=options) as writer:
        writer.write_table(table)


def read_arrow(file: Path) -> pa.Table:
    """Read a table that `write_arrow` wrote."""
    pa, _ = parquet()
    with pa.OSFile(os.fspath(file)) as opened:
        return pa.ipc.open_file(opened).read_all()


def numpy() -> Any:
    """The module numpy.

    Raises:
        MissingExtraError: when it is not installed.
    """
    try:
        import numpy
    except ImportError:
        raise MissingExtraError("numpy", "corpus") from None
    return numpy


@lru_cache(maxsize=1)
def _sketcher() -> Sketcher:
    return Sketcher()


@lru_cache(maxsize=1)
def _checker(evaluation: Path, threshold: float, *version: int) -> LeakChecker:
    """Of the file as it is now: another build may have put another in its place."""
    return LeakChecker(list(dialogues_in(read_arrow(evaluation), evaluation)), threshold)
