"""`read_dialogues`: dialogues from the JSON files in which they circulate, each repair and loss counted."""

from __future__ import annotations

import codecs
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

from chatdoctor_hub.corpus.reading.repair import (
    LAYOUT_KEYS,
    NO_DOCTOR,
    UnusableRecordError,
    dialogue_from_record,
    json_kind,
)
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["DialogueFile", "RecordProblem", "read_dialogues"]

_LAYOUTS = "a JSON array (or one record a line) of {instruction, input, output} or of {messages: [...]}"
_UTF16_OR_32 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)


@dataclass(frozen=True)
class RecordProblem:
    """Why a record could not be used; never holds its words.

    Args:
        record: its number in the file, from 1.
        line: the line it stands on, from 1, where records are lines; else None.
        reason: what is wrong with it.
    """

    record: int
    line: int | None
    reason: str

    def __str__(self) -> str:
        where = f"record {self.record}" + (f" (line {self.line})" if self.line is not None else "")
        return f"{where}: {self.reason}"


@dataclass(frozen=True)
class DialogueFile(Sequence[Dialogue]):
    """The dialogues of one file, with what was repaired and what could not be used.

    Args:
        dialogues: in the order of the file; the `id` of each is the number of its record.
        source: the file's name.
        problems: the records that could not be used.
        repairs: the number of records that needed a repair, by kind: "outer_white_space",
            "broken_characters" (NUL, lone surrogates), "speaker_labels" (a leading "Doctor:" or "Patient:"),
            "leaked_turns_split" (an answer that went on became several turns), "leaked_turns_cut" (what came
            after the doctor's last words was cut).
    """

    dialogues: tuple[Dialogue, ...]
    source: str
    problems: tuple[RecordProblem, ...] = ()
    repairs: dict[str, int] = field(default_factory=dict, hash=False)

    def __len__(self) -> int:
        return len(self.dialogues)

    @overload
    def __getitem__(self, index: int) -> Dialogue: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Dialogue, ...]: ...
    def __getitem__(self, index: int | slice) -> Dialogue | tuple[Dialogue, ...]:
        return self.dialogues[index]

    def __iter__(self) -> Iterator[Dialogue]:
        return iter(self.dialogues)

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) of all that was read: dialogues, problems and repairs."""
        read = [
            [[item.id, item.source, item.topic, item.digest] for item in self.dialogues],
            [[problem.record, problem.line, problem.reason] for problem in self.problems],
            sorted(self.repairs.items()),
        ]
        return hashlib.sha256(json.dumps(read).encode()).hexdigest()


class _Record(NamedTuple):
    number: int
    line: int | None
    value: Any
    fault: str = ""  # why there is no value


def read_dialogues(path: str | os.PathLike[str]) -> DialogueFile:
    """Read dialogues from a JSON or JSONL file; the layout is told from the content, not from the name.

    Understood are the Alpaca-style records of ChatDoctor (arXiv 2303.14070),
    `{"instruction", "input", "output"}`, and the Hub's `{"messages": [{"role", "content"}, ...]}`, each as
    a JSON array or one record a line. ChatDoctor's constant instruction is no turn and is dropped, since the
    prompt pair supplies it; another one becomes a system turn, or the patient's words where `input` is empty.

    Args:
        path: the file, in UTF-8 with or without a byte-order mark.

    Returns:
        The usable dialogues, with every repair counted and every other record's number and fault.

    Raises:
        DataNotFoundError: when the file does not exist or cannot be read.
        DataFormatError: when it is not UTF-8, not JSON, of another layout, or without a usable dialogue.
    """
    file = Path(path)
    source = os.fspath(file.name).encode("utf-8", "replace").decode()
    records = _records(_text(file), file)
    if not any(isinstance(record.value, dict) and LAYOUT_KEYS & record.value.keys() for record in records):
        raise _layout_error(records, file)
    dialogues: list[Dialogue] = []
    problems: list[RecordProblem] = []
    repairs: Counter[str] = Counter()
    for record in records:
        made: set[str] = set()
        try:
            if record.fault:
                raise UnusableRecordError(record.fault)
            dialogues.append(dialogue_from_record(record.value, str(record.number), source, made))
            repairs.update(made)
        except UnusableRecordError as error:
            problems.append(RecordProblem(record.number, record.line, str(error)))
    if not dialogues:
        raise _nothing_usable(problems, file)
    return DialogueFile(tuple(dialogues), source, tuple(problems), dict(sorted(repairs.items())))


def _text(file: Path) -> str:
    try:
        data = file.read_bytes()
    except IsADirectoryError:
        raise DataFormatError(
            f"Expected {file} to be a JSON file of dialogues, found a folder; name the file itself, or open "
            "a corpus folder with Corpus.open."
        ) from None
    except FileNotFoundError:
        raise DataNotFoundError(
            f"Expected a JSON file of dialogues at {file}, found none; check the path."
        ) from None
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "a path that no file can have"
        raise DataNotFoundError(
            f"Expected to read dialogues from {str(file)!r}, found: {found}; check the path and its "
            "permissions."
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = (
            "UTF-16 or UTF-32" if data.startswith(_UTF16_OR_32) else f"another byte at offset {error.start}"
        )
        raise DataFormatError(
            f"Expected {file} to be text in UTF-8, found {found}; save it again as UTF-8."
        ) from None


def _records(text: str, file: Path) -> list[_Record]:
    """The JSON values of a file, from an array, from lines, or from the one object that the file is."""
    start = text.lstrip()[:1]
    if not start:
        raise DataFormatError(
            f"Expected {file} to hold {_LAYOUTS}, found an empty file; add dialogues to it."
        )
    if start == "[":
        whole = _parse(text)
        if isinstance(whole, _Fault):
            raise _json_error(whole, file)
        return [_Record(number, None, value) for number, value in enumerate(whole, start=1)]
    # Only the line feed ends a line: JSON strings may hold U+2028 and others that splitlines() knows.
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    records = []
    for number, (line_number, line) in enumerate(lines, start=1):
        value = _parse(line)
        fault = value.reason if isinstance(value, _Fault) else ""
        records.append(_Record(number, line_number, None if fault else value, fault))
    if all(record.fault for record in records):
        whole = _parse(text)
        if isinstance(whole, _Fault):
            raise _json_error(whole, file)
        return [_Record(1, None, whole)]
    return records


class _Fault(NamedTuple):
    where: str
    reason: str


def _parse(text: str) -> Any:
    """The JSON value, or a `_Fault`. The parser's own message is left out: it may quote the text."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        return _Fault(
            f"a fault at line {error.lineno}, column {error.colno}", f"not JSON from column {error.colno} on"
        )
    except RecursionError:
        return _Fault("brackets nested too deeply", "brackets nested too deeply")
    except ValueError:
        return _Fault("a number of too many digits", "a number of too many digits")


def _json_error(fault: _Fault, file: Path) -> DataFormatError:
    return DataFormatError(
        f"Expected {file} to be JSON, {_LAYOUTS}, found {fault.where}; correct it or export the file again."
    )


def _layout_error(records: list[_Record], file: Path) -> DataFormatError:
    found = "no record at all"
    if records:
        usable = [record for record in records if not record.fault]
        first = usable[0].value if usable else None
        found = f"{json_kind(first)} as its first record"
        if isinstance(first, dict):
            # A key could be anybody's words unless it looks like a column's name.
            names = sorted(key for key in first if key.isidentifier() and len(key) <= 30)[:8]
            found = f"records with the keys {', '.join(names)}" if names else "records with other keys"
    return DataFormatError(f"Expected {file} to hold {_LAYOUTS}, found {found}; convert it to one of these.")


def _nothing_usable(problems: list[RecordProblem], file: Path) -> DataFormatError:
    count = len(problems)
    if all(problem.reason.startswith(NO_DOCTOR) for problem in problems):
        return DataFormatError(
            f"Expected {file} to hold dialogues with a doctor's turn, found {count} record(s) and not one "
            "doctor turn in them; add the doctor's answers ('output', or messages of role 'assistant')."
        )
    return DataFormatError(
        f"Expected {file} to hold at least one usable dialogue, found none in {count} record(s), the first "
        f"fault being {problems[0]}; correct the records."
    )
