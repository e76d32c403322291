"""`Corpus`: the folder that a model is tuned from, three Parquet files and a record of their making."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.readers import RecordProblem
from chatdoctor_hub.corpus.splits import Splits
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import (
    DataError,
    DataFormatError,
    DataNotFoundError,
    DiskSpaceError,
    MissingExtraError,
)

__all__ = ["Corpus"]

_SCHEMA_VERSION = 1
_SPLITS = ("train", "validation", "test")
_RECORD = "corpus.json"
_OWN_FILES = frozenset({_RECORD, *(f"{name}.parquet" for name in _SPLITS)})
_KEYS = frozenset({"schema_version", "digest", "dialogues", "files"})
_STALE_SECONDS = 3600


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
        with _replacing(Path(os.path.realpath(folder))) as new:
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
        former = _leftovers(file.parent, "old")
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


@contextmanager
def _replacing(target: Path) -> Iterator[Path]:
    """A new folder beside `target` that takes its place when the block ends well, and vanishes when not."""
    token = secrets.token_hex(4)
    new, old = (target.with_name(f".{target.name}.{token}.{kind}") for kind in ("new", "old"))
    try:
        former = _leftovers(target, "old")
        if former and not target.exists():
            former[0].rename(target)
        _check_replaceable(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            new.mkdir()
            yield new
            _swap(new, target, old)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskSpaceError(
                f"Expected room on the disk for the corpus {target}, found the disk full; free some space."
            ) from None
        raise DataError(
            f"Expected to write the corpus {str(target)!r}, found: {error.strerror or 'a failed copy'}; "
            "choose a folder that you may write to."
        ) from None
    for kind in ("new", "old"):
        for leftover in _leftovers(target, kind, _STALE_SECONDS):
            shutil.rmtree(leftover, ignore_errors=True)


def _check_replaceable(target: Path) -> None:
    is_folder = target.is_dir()
    if not target.exists() or (is_folder and ((target / _RECORD).is_file() or not any(target.iterdir()))):
        return
    raise DataFormatError(
        f"Expected {target} to be absent, empty or an older corpus, found "
        f"{'a folder of other files' if is_folder else 'a file'}; choose another folder."
    )


def _swap(new: Path, target: Path, old: Path) -> None:
    if not target.exists():
        new.rename(target)
        return
    for child in target.iterdir():
        if child.name in _OWN_FILES:
            continue
        if child.is_dir() and not child.is_symlink():
            shutil.copytree(child, new / child.name, symlinks=True)
        else:
            shutil.copy2(child, new / child.name, follow_symlinks=False)
    try:
        target.rename(old)
        new.rename(target)
    except BaseException:
        # Even Ctrl-C between the two must not leave the place empty.
        if old.exists() and not target.exists():
            old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _leftovers(target: Path, kind: str, older_than: float = 0) -> list[Path]:
    """What a process that was killed left beside `target`: "new" unfinished, "old" about to be replaced."""
    name = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{8}}\.{kind}")
    try:
        return [
            path
            for path in sorted(target.parent.iterdir())
            if name.fullmatch(path.name) and time.time() - path.stat().st_mtime >= older_than
        ]
    except (OSError, ValueError):
        return []
