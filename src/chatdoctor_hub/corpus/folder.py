"""`Corpus`: the folder that a model is tuned from, three Parquet files and a record of their making."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.reading.readers import RecordProblem
from chatdoctor_hub.corpus.splits import Splits
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError, MissingExtraError
from chatdoctor_hub.folders import left_aside, replacing_folder

__all__ = ["Corpus"]

_SCHEMA_VERSION = 1
_SPLITS = ("train", "validation", "test")
_RECORD = "corpus.json"
_OWN_FILES = frozenset({_RECORD, *(f"{name}.parquet" for name in _SPLITS)})
_KEYS = frozenset({"schema_version", "digest", "dialogues", "files"})


@dataclass(frozen=True)
class Corpus:
    """A corpus folder that has been read and verified.

    Each of `train.parquet`, `validation.parquet` and `test.parquet` has the columns `id`, `source`, `topic`
    (strings) and `messages` (a list of `{role, content}`, the Hub's format), so that the folder can be pushed
    as a data set as it is. `corpus.json` records what went in and what was left out.

    Args:
        path: the folder.
        train, validation, test: the dialogues.
        info: the content of `corpus.json`: "schema_version", "digest", "seed", "dialogues" and "turns" (a
            count per split), "duplicates", "sources", "repairs" (a count per kind), "problems" (record
            number, line and reason of each record left out), "files" (sha256 of each) and "extra".
    """

    path: Path
    train: tuple[Dialogue, ...]
    validation: tuple[Dialogue, ...]
    test: tuple[Dialogue, ...]
    info: dict[str, Any] = field(hash=False)

    @property
    def digest(self) -> str:
        """sha256 (hex) over the roles and words of all dialogues and the split that each belongs to."""
        return str(self.info["digest"])

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
        extra: Mapping[str, Any] | None = None,
    ) -> Corpus:
        """Write a corpus folder whole or not at all, replacing an older one.

        It is written beside its place and then renamed; files that are not the corpus's own stay in it.

        Args:
            folder: where; absent, empty, or an older corpus.
            splits: what `split` made.
            seed: the seed of the run that made them.
            sources: names (or records) of what the dialogues come from.
            repairs: counts by kind, as of `DialogueFile.repairs`.
            problems: the records left out.
            extra: what else the record should hold; values that JSON can hold, no patient's words.

        Raises:
            DataFormatError: when the splits share dialogues or there is nothing to train on, when `folder` is
                something else than a corpus, or when a value cannot be stored.
            DiskSpaceError: when the disk is full.
            DataError: when the folder cannot be written for another reason.
            MissingExtraError: without pyarrow.
        """
        splits.verify()
        files = {f"{name}.parquet": _parquet_bytes(getattr(splits, name), name) for name in _SPLITS}
        info = {
            "schema_version": _SCHEMA_VERSION,
            "digest": splits.digest,
            "seed": seed,
            "dialogues": splits.counts,
            "turns": {name: sum(len(item.turns) for item in getattr(splits, name)) for name in _SPLITS},
            "duplicates": splits.duplicates,
            "sources": list(sources),
            "repairs": dict(repairs),
            "problems": [asdict(problem) for problem in problems],
            "files": {name: {"sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()},
            "extra": dict(extra or {}),
        }
        files[_RECORD] = _json_bytes(info)
        with replacing_folder(folder, what="corpus", marker=_RECORD, own=_OWN_FILES) as new:
            for name, data in files.items():
                (new / name).write_bytes(data)
        return cls.open(folder)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> Corpus:
        """Read a corpus folder and verify every file against its record.

        Raises:
            DataNotFoundError: when the folder is no corpus or a file of it is missing.
            DataFormatError: naming the file that differs from the record, or the record itself.
            MissingExtraError: without pyarrow.
        """
        path = Path(folder)
        info = _read_record(path)
        train, validation, test = (_read_split(path / f"{name}.parquet", info) for name in _SPLITS)
        splits = Splits(train, validation, test)
        if info["dialogues"] != splits.counts or info["digest"] != splits.digest:
            raise DataFormatError(
                f"Expected {path / _RECORD} to have the counts and the digest of the dialogues beside it, "
                "found others; restore it or write the corpus again."
            )
        return cls(path, train, validation, test, info)


def _json_bytes(info: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(info, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError):
        raise DataFormatError(
            f"Expected values that JSON can hold for {_RECORD}, found another among seed, sources, repairs, "
            "problems and extra; pass numbers, text, lists and dicts."
        ) from None


def _parquet_bytes(dialogues: Sequence[Dialogue], name: str) -> bytes:
    pa, pq = _pyarrow()
    message = pa.struct([("role", pa.string()), ("content", pa.string())])
    text = [(column, pa.string()) for column in ("id", "source", "topic")]
    rows = [
        {"id": item.id, "source": item.source, "topic": item.topic, "messages": item.to_messages()}
        for item in dialogues
    ]
    sink = pa.BufferOutputStream()
    try:
        table = pa.Table.from_pylist(rows, schema=pa.schema([*text, ("messages", pa.list_(message))]))
        pq.write_table(table, sink, compression="zstd")
    except (TypeError, ValueError, pa.ArrowException):
        raise DataFormatError(
            f"Expected text that UTF-8 can hold in the {name} split, found a dialogue with something else in "
            "its words, id, source or topic; read it with read_dialogues, which repairs it."
        ) from None
    return bytes(sink.getvalue().to_pybytes())


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtraError("pyarrow", "corpus") from None
    return pyarrow, pyarrow.parquet


def _read_record(folder: Path) -> dict[str, Any]:
    file = folder / _RECORD
    data = _bytes_of(file, f"a corpus folder with {_RECORD} in it")
    try:
        info = json.loads(data)
    except (ValueError, RecursionError):
        info = None
    version = info.get("schema_version") if isinstance(info, dict) else None
    if isinstance(version, int) and version != _SCHEMA_VERSION:
        raise DataFormatError(
            f"Expected schema_version {_SCHEMA_VERSION} in {file}, found {version}; write the corpus again "
            "with this version of chatdoctor-hub."
        )
    if version is None or not info.keys() >= _KEYS or not isinstance(info["files"], dict):
        raise DataFormatError(
            f"Expected {file} to be the JSON record of a corpus with {', '.join(sorted(_KEYS))}, found "
            "another content; restore it or write the corpus again."
        )
    return dict(info)


def _bytes_of(file: Path, expected: str) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "a path that no file can have"
        former = left_aside(file.parent)
        hint = f"rename {former[0]} back, left by an interrupted replacement, or " if former else ""
        raise DataNotFoundError(
            f"Expected {expected} at {str(file)!r}, found: {found}; {hint}write the corpus with Corpus.write."
        ) from None


def _read_split(file: Path, info: Mapping[str, Any]) -> tuple[Dialogue, ...]:
    pa, pq = _pyarrow()
    data = _bytes_of(file, "the Parquet file of a corpus")
    recorded = info["files"].get(file.name)
    expected = recorded.get("sha256") if isinstance(recorded, dict) else None
    actual = hashlib.sha256(data).hexdigest()
    if actual != expected:
        raise DataFormatError(
            f"Expected {file} to have the sha256 that {_RECORD} records ({str(expected)[:12]}…), found "
            f"{actual[:12]}…; restore the file or write the corpus again."
        )
    try:
        rows = pq.read_table(pa.BufferReader(data)).to_pylist()
        return tuple(
            Dialogue.from_messages(row["messages"], id=row["id"], source=row["source"], topic=row["topic"])
            for row in rows
        )
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
        raise DataFormatError(
            f"Expected {file} to be a Parquet file with the columns id, source, topic and messages, found "
            "another content; write the corpus again."
        ) from None
