"""Dialogues as JSON lines in the Hub's `messages` format, written whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.folders import replacing_file

__all__ = ["write_messages", "write_report"]


def write_messages(
    path: str | os.PathLike[str],
    dialogues: Iterable[Dialogue],
    more: Iterable[Mapping[str, str]] | None = None,
) -> int:
    """Write one record a line: id, source, topic, what `more` has for it, and `messages`.

    Args:
        path: the file; an older one is replaced.
        dialogues: in the order to be written.
        more: further fields of each record, in the same order.

    Returns:
        How many were written.

    Raises:
        DiskSpaceError, DataError: when the file cannot be written; an older one is then as it was.
    """
    count = 0
    fields = iter(more) if more is not None else None
    with replacing_file(path, what="file of dialogues") as file, file.open("wb") as out:
        for dialogue in dialogues:
            record: dict[str, Any] = {
                "id": dialogue.id,
                "source": dialogue.source,
                "topic": dialogue.topic,
                **(next(fields) if fields is not None else {}),
                "messages": dialogue.to_messages(),
            }
            out.write(_line(record))
            count += 1
    return count


def write_report(path: str | os.PathLike[str], record: Mapping[str, Any]) -> Path:
    """Write a report as JSON, whole or not at all."""
    with replacing_file(path, what="report") as file:
        file.write_text(json.dumps(record, indent=2, ensure_ascii=True) + "\n", encoding="ascii")
    return Path(path)


def _line(record: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(record, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:
        # Halves of surrogate pairs have no UTF-8, but an escape.
        return (json.dumps(record, ensure_ascii=True) + "\n").encode("ascii")
