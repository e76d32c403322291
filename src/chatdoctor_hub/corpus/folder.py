"""`Corpus`: the folder that a model is tuned from, of any size: Parquet shards and a record of their making."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.corpus.building.card import edited_data_card, render_data_card
from chatdoctor_hub.corpus.reading import RecordProblem
from chatdoctor_hub.corpus.record import (
    RECORD,
    SCHEMA_VERSION,
    Rejected,
    read_record,
    reasons,
    record_bytes,
    rejected_table,
)
from chatdoctor_hub.corpus.shards import Shards, file_digest, parquet, shard_name, table_of, write_parquet
from chatdoctor_hub.corpus.splits import SPLITS, Splits
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.folders import replacing_folder

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Corpus", "complete", "replacing_corpus"]

_CARD, _REJECTED = "README.md", "rejected.parquet"
_SHARD = re.compile(r"data/(train|validation|test)-(\d{5})-of-(\d{5})\.parquet")
# The Parquet files of schema version 1 are named too, so that they go when such a folder is replaced.
_OWN_FILES = frozenset({RECORD, _CARD, _REJECTED, "data", *(f"{name}.parquet" for name in SPLITS)})


@dataclass(frozen=True)
class Corpus:
    """A corpus folder whose files have been verified; the dialogues stay on the disk until they are read.

    The shards `data/SPLIT-00000-of-00001.parquet` have the columns `id`, `source`, `topic` (strings) and
    `messages` (a list of `{role, content}`, the Hub's format); `README.md` is a data card that holds no
    dialogue, and its header tells the Hub and `datasets` where the splits lie. `corpus.json` records how it
    was made, `rejected.parquet` which records were left out and why.

    Args:
        path: the folder.
        train, validation, test: the dialogues, as sequences that read what is asked for.
        info: the content of `corpus.json`: "schema_version", "digest", "licence", "seed", "dialogues" and
            "turns" (a count per split), "counts" ("read", "kept" and "rejected" by step and reason),
            "repairs" and "changes" (a count per kind), "sources", "leak_check", "config", "files" (sha256,
            bytes and rows of each) and "extra". Corpora are equal when path and info are.
    """

    path: Path
    train: Shards = field(compare=False)
    validation: Shards = field(compare=False)
    test: Shards = field(compare=False)
    info: dict[str, Any] = field(hash=False)

    @property
    def digest(self) -> str:
        """sha256 (hex) over the roles and words of all dialogues and the split that each belongs to."""
        return str(self.info["digest"])

    def stream(self, split: str = "train") -> Iterator[Dialogue]:
        """The dialogues of one split in order, with memory that does not grow with their number.

        Raises:
            DataFormatError: when there is no split of that name.
        """
        if split not in SPLITS:
            raise DataFormatError(f"Expected a split among {', '.join(SPLITS)}, found {split!r}; name one.")
        return iter(getattr(self, split))

    def verify(self) -> None:
        """Read every dialogue and compare counts and digest with the record.

        `open` compares the files' own digests; this finds a record and files that were replaced together.

        Raises:
            DataFormatError: when they differ.
        """
        digest, counts = hashlib.sha256(), Counter(dict.fromkeys(SPLITS, 0))
        for name in SPLITS:
            for item in self.stream(name):
                counts[name] += 1
                digest.update(f"{name} {item.digest}\n".encode())
        if dict(counts) != self.info["dialogues"] or digest.hexdigest() != self.digest:
            raise DataFormatError(
                f"Expected {self.path / RECORD} to have the counts and the digest of the dialogues beside it, "
                "found others; restore it or make the corpus again."
            )

    @classmethod
    def write(
        cls,
        folder: str | os.PathLike[str],
        splits: Splits,
        *,
        seed: int,
        sources: Sequence[str | Mapping[str, Any]],
        repairs: Mapping[str, int],
        problems: Iterable[RecordProblem],
        licence: str = "unknown",
        shard_size: int = 50_000,
        extra: Mapping[str, Any] | None = None,
    ) -> Corpus:
        """Write dialogues that are in memory as a corpus folder, whole or not at all, replacing an older one.

        It is written beside its place and then renamed; files that are not the corpus's own stay in it. For
        files of dialogues, `build_corpus` does the reading, cleaning and dividing as well.

        Args:
            folder: where; absent, empty, or an older corpus.
            splits: what `split` made.
            seed: the seed of the run that made them.
            sources: names (or records with a "name") of what the dialogues come from.
            repairs: counts by kind, as of `DialogueFile.repairs`.
            problems: the records left out.
            licence: of the corpus, for the data card.
            shard_size: dialogues a file.
            extra: what else the record should hold; values that JSON can hold, no patient's words. Texts under
                "description", "consent", "deidentification" and "contact" stand in the data card.

        Raises:
            DataFormatError: when the splits share dialogues or there is nothing to train on, when `folder` is
                something else than a corpus, or when a value cannot be stored.
            DiskSpaceError: when the disk is full.
            DataError: when the folder cannot be written for another reason.
            MissingExtraError: without pyarrow.
        """
        splits.verify()
        named = [dict(item) if isinstance(item, Mapping) else {"name": item} for item in sources]
        rejected = [
            Rejected(
                str(named[0]["name"]) if len(named) == 1 else "", "", one.record, one.line, "read", one.reason
            )
            for one in problems
        ]
        left_out = Counter((row.step, row.reason) for row in rejected)
        left_out["duplicates", "exact"] += splits.duplicates
        kept = sum(splits.counts.values())
        info = {
            "digest": splits.digest,
            "licence": licence,
            "seed": seed,
            "dialogues": splits.counts,
            "turns": {name: sum(len(item.turns) for item in getattr(splits, name)) for name in SPLITS},
            "counts": {"read": kept + left_out.total(), "kept": kept, "rejected": reasons(+left_out)},
            "repairs": dict(repairs),
            "sources": named,
            "extra": dict(extra or {}),
        }
        record_bytes(info)  # before anything is written
        with replacing_corpus(folder) as new:
            for name in SPLITS:
                _write_split(new, name, getattr(splits, name), shard_size)
            complete(new, info, rejected_table(rejected))
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | os.PathLike[str], *, verify: bool = True) -> Corpus:
        """Open a corpus folder and verify its files against its record.

        Args:
            folder: where it lies.
            verify: whether to compute the sha256 of every file; without it only sizes are compared.

        Raises:
            DataNotFoundError: when the folder is no corpus or a file of it is missing.
            DataFormatError: naming the file that differs from the record, or the record itself.
            MissingExtraError: without pyarrow.
        """
        if not isinstance(folder, (str, os.PathLike)):
            raise DataFormatError(
                f"Expected the path of a corpus folder, found {type(folder).__name__}; name the folder."
            )
        path = Path(folder)
        info = read_record(path)
        shards: dict[str, list[tuple[Path, int]]] = {name: [] for name in SPLITS}
        for name, recorded in sorted(info["files"].items()):
            if name == _CARD:
                continue  # a card may be edited
            if not (shard := _SHARD.fullmatch(name)) and name != _REJECTED:
                raise DataFormatError(
                    f"Expected {path / RECORD} to list the files of a corpus, found another name; restore it "
                    "or make the corpus again."
                )
            _check_file(path / name, recorded, verify)
            if shard:
                shards[shard[1]].append((path / name, recorded["rows"]))
        parts = {name: Shards(files) for name, files in shards.items()}
        if info["dialogues"] != {name: len(part) for name, part in parts.items()}:
            raise DataFormatError(
                f"Expected {path / RECORD} to have the counts of the dialogues in its files, found others; "
                "restore it or make the corpus again."
            )
        return cls(path, **parts, info=info)


@contextmanager
def replacing_corpus(folder: str | os.PathLike[str]) -> Iterator[Path]:
    """`replacing_folder` for a corpus: only an older corpus or an empty folder is replaced.

    The new folder starts with the older one's card, so that `complete` keeps what people wrote into it.
    """
    with replacing_folder(folder, what="corpus", marker=RECORD, own=_OWN_FILES) as new:
        with suppress(FileNotFoundError):
            shutil.copyfile(Path(folder) / _CARD, new / _CARD)
        yield new


def complete(new: Path, info: Mapping[str, Any], rejected: pa.Table) -> None:
    """Add to a folder of shards what makes it a corpus: `rejected.parquet`, the data card, `corpus.json`.

    Args:
        new: the folder, with the shards in `data/` and, where an older corpus is replaced, its card.
        info: the record, without "schema_version", "made_with" and "files".
        rejected: what was left out, as `rejected_table` makes it.
    """
    from chatdoctor_hub import __version__

    record = {"schema_version": SCHEMA_VERSION, "made_with": f"chatdoctor-hub {__version__}"}
    record |= dict(info)
    write_parquet(rejected, new / _REJECTED)
    card, earlier = render_data_card(record), _earlier_card(new)
    (new / _CARD).write_text(edited_data_card(card, earlier) if earlier else card, encoding="utf-8")
    names = [*sorted(f"data/{file.name}" for file in (new / "data").iterdir()), _CARD, _REJECTED]
    record["files"] = {name: _described(new / name) for name in names}
    (new / RECORD).write_bytes(record_bytes(record))


def _earlier_card(new: Path) -> str:
    """The card of the corpus that was there, "" for none."""
    try:
        return (new / _CARD).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise DataFormatError(
            f"Expected {_CARD} of the corpus that is replaced to be UTF-8, found other bytes; mend or delete it."
        ) from error


def _write_split(new: Path, name: str, dialogues: Sequence[Dialogue], shard_size: int) -> None:
    count = -(-len(dialogues) // shard_size)
    (new / "data").mkdir(exist_ok=True)
    for number in range(count):
        table = table_of(dialogues[number * shard_size : (number + 1) * shard_size])
        write_parquet(table, new / shard_name(name, number, count))


def _described(file: Path) -> dict[str, Any]:
    described: dict[str, Any] = {"sha256": file_digest(file), "bytes": file.stat().st_size}
    if file.suffix == ".parquet":
        described["rows"] = parquet()[1].read_metadata(file).num_rows
    return described


def _check_file(file: Path, recorded: Mapping[str, Any], verify: bool) -> None:
    pa, pq = parquet()
    actual = file_digest(file) if verify else None
    size = file.stat().st_size if file.is_file() else -1
    if size != recorded.get("bytes") or (verify and actual != recorded.get("sha256")):
        raise DataFormatError(
            f"Expected {file} to have the size and the sha256 that {RECORD} records "
            f"({str(recorded.get('sha256'))[:12]}…), found others; restore the file or make the corpus again."
        )
    try:
        rows = pq.read_metadata(file).num_rows
    except (pa.ArrowException, OSError):
        rows = None
    if rows is None or rows != recorded.get("rows"):
        raise DataFormatError(
            f"Expected {file} to be a Parquet file with the rows that {RECORD} records, found another content; "
            "make the corpus again."
        )
