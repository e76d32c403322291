"""`Record`: one value of a file before it is a dialogue; `RecordProblem`: why it could not become one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

__all__ = ["MAX_RECORD", "Fault", "Record", "RecordProblem", "json_kind"]

MAX_RECORD = 8 * 1024 * 1024
"""Bytes (characters, where text is decoded first) that a record may have: no dialogue is longer, and nothing
longer is ever held in memory."""


@dataclass(frozen=True)
class RecordProblem:
    """Why a record could not be used; never holds its words.

    Args:
        record: its number in the file, from 1.
        line: the line it starts on, from 1, where records are lines or rows of CSV; else None.
        reason: what is wrong with it.
        file: the name of the file, relative to the folder or data set that was read.
    """

    record: int
    line: int | None
    reason: str
    file: str = field(default="", compare=False)

    def __str__(self) -> str:
        where = f"record {self.record}" + (f" (line {self.line})" if self.line is not None else "")
        return f"{where}: {self.reason}"


class Fault(NamedTuple):
    """Why there is no value.

    Args:
        kind: "json" and "encoding" may be the fault of the whole file, the others never are.
        reason: for the record's problem.
        where: for an error about the whole file.
    """

    kind: Literal["json", "encoding", "csv", "size", "file"]
    reason: str
    where: str = ""


class Record(NamedTuple):
    """A value of a file, or why there is none.

    Args:
        number: in the file, from 1.
        line: on which it starts, from 1, or None.
        value: as JSON has it: a dict for a row.
        fault: why there is no value.
        key: the name under which it stands, where the file is a JSON object of records.
    """

    number: int
    line: int | None
    value: Any
    fault: Fault | None = None
    key: str = ""


def json_kind(value: Any) -> str:
    """A JSON value's type in words; never the value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
