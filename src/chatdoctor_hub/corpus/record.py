"""`corpus.json`: the record of a corpus folder, and the table of what was left out of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from chatdoctor_hub.corpus.shards import parquet
from chatdoctor_hub.corpus.splits import SPLITS
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.folders import left_aside

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RECORD", "SCHEMA_VERSION", "Rejected", "read_record", "reasons", "record_bytes", "rejected_table"]

RECORD = "corpus.json"
SCHEMA_VERSION = 2
_KEYS = frozenset({"schema_version", "digest", "dialogues", "files"})
_REASONS = 50  # kinds of reasons that are listed for a step; the rest are summed up


class Rejected(NamedTuple):
    """One row of `rejected.parquet`: which record was left out, where, and why; never its words.

    Args:
        source: the name of the source.
        id: the dialogue's id within it, "" for a record that became none.
        record: its number in the source, from 1, where that is known.
        line: the line it stands on, where records are lines.
        step: "read", "normalise", "length", "duplicates" or "leaks".
        reason: in a few words.
        other: for duplicates and leaks, the source and id of the record that it repeats.
    """

    source: str
    id: str
    record: int | None
    line: int | None
    step: str
    reason: str
    other: str = ""


def rejected_table(rows: Iterable[Rejected]) -> pa.Table:
    """The Arrow table of `rejected.parquet`, one column for each field of `Rejected`."""
    pa, _ = parquet()
    kinds = {"record": pa.int64(), "line": pa.int64()}
    columns = list(zip(*rows, strict=True)) or [()] * len(Rejected._fields)
    arrays = [
        pa.array(column, kinds.get(name, pa.string()))
        for name, column in zip(Rejected._fields, columns, strict=True)
    ]
    return pa.table(arrays, names=list(Rejected._fields))


def reasons(counts: Mapping[tuple[str, str], int]) -> dict[str, dict[str, int]]:
    """How many were left out by step and reason, with the numbers in the reasons taken out.

    Args:
        counts: by (step, reason).
    """
    steps: dict[str, Counter[str]] = {}
    for (step, reason), count in sorted(counts.items()):
        steps.setdefault(step, Counter())[_KIND.sub("…", reason) if step == "read" else reason] += count
    return {step: _most(found) for step, found in steps.items()}


def record_bytes(info: Mapping[str, Any]) -> bytes:
    """The JSON of a record.

    Raises:
        DataFormatError: for a value that JSON cannot hold.
    """
    try:
        return (json.dumps(info, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except (TypeError, ValueError, RecursionError):
        raise DataFormatError(
            f"Expected values that JSON can hold for {RECORD}, found another among seed, sources, repairs, "
            "problems and extra; pass numbers, text, lists and dicts."
        ) from None


def read_record(folder: Path) -> dict[str, Any]:
    """The record of a corpus folder.

    Raises:
        DataNotFoundError: when the folder has none.
        DataFormatError: when it is none, or of another schema version.
    """
    file = folder / RECORD
    try:
        info = json.loads(_bytes_of(file))
    except (ValueError, RecursionError):
        info = None
    version = info.get("schema_version") if isinstance(info, dict) else None
    if isinstance(version, int) and version != SCHEMA_VERSION:
        older = "an older" if version < SCHEMA_VERSION else "a newer"
        raise DataFormatError(
            f"Expected schema_version {SCHEMA_VERSION} in {file}, found {version}, of {older} chatdoctor-hub; "
            "make the corpus again with this one (`chatdoctor corpus build`, or the quickstart)."
        )
    if not isinstance(info, dict) or not _is_record(info):
        raise DataFormatError(
            f"Expected {file} to be the JSON record of a corpus with {', '.join(sorted(_KEYS))}, found "
            "another content; restore it or make the corpus again."
        )
    return info


_KIND = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


def _most(found: Counter[str]) -> dict[str, int]:
    ranked = sorted(found.items(), key=lambda pair: (-pair[1], pair[0]))
    kept = dict(ranked[:_REASONS])
    if rest := sum(count for _, count in ranked[_REASONS:]):
        kept["other reasons"] = rest
    return kept


def _is_record(info: dict[str, Any]) -> bool:
    if not info.keys() >= _KEYS or not isinstance(info["files"], dict):
        return False
    counts = info["dialogues"]
    return (
        isinstance(info["digest"], str)
        and isinstance(counts, dict)
        and counts.keys() == set(SPLITS)
        and all(isinstance(file, dict) for file in info["files"].values())
    )


def _bytes_of(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "a path that no file can have"
        former = left_aside(file.parent)
        hint = f"rename {former[0]} back, left by an interrupted replacement, or " if former else ""
        raise DataNotFoundError(
            f"Expected a corpus folder with {RECORD} in it at {str(file)!r}, found: {found}; {hint}make the "
            "corpus with build_corpus or Corpus.write."
        ) from None
