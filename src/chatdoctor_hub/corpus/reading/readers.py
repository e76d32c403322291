"""`read_dialogues`: all dialogues of a source at once, each repair and each loss counted."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, overload

from chatdoctor_hub.corpus.reading.records import RecordProblem
from chatdoctor_hub.corpus.reading.stream import stream_dialogues
from chatdoctor_hub.dialogue import Dialogue

if TYPE_CHECKING:
    from chatdoctor_hub.corpus.reading.source import SourceConfig

__all__ = ["DialogueFile", "RecordProblem", "read_dialogues"]


@dataclass(frozen=True)
class DialogueFile(Sequence[Dialogue]):
    """The dialogues of one source, with what was repaired and what could not be used.

    Args:
        dialogues: in the order of the source.
        source: the file's name, the folder's, or the Hub id.
        problems: the records that could not be used.
        repairs: the number of records that needed a repair, by kind: "outer_white_space",
            "broken_characters" (NUL, lone surrogates), "speaker_labels" (a leading "Doctor:" or "Patient:"),
            "leaked_turns_split" (an answer that went on became several turns), "leaked_turns_cut" (what came
            after the doctor's last words was cut), "remarks_cut" (the generating model's remark on its own
            work), "turns_joined" (sentences that one speaker says in a row), "ids_missing" (an id that is
            null, NaN or empty) and "ids_repeated".
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


def read_dialogues(path: SourceConfig | str | os.PathLike[str], *, strict: bool = False) -> DialogueFile:
    """Read dialogues from a file, a folder of files or a data set on the Hub, as `stream_dialogues` does.

    Among the layouts understood are the Alpaca-style records of ChatDoctor (arXiv 2303.14070),
    `{"instruction", "input", "output"}`, and the Hub's `{"messages": [{"role", "content"}, ...]}`.
    ChatDoctor's constant instruction is no turn and is dropped, since the prompt pair supplies it; another one
    becomes a system turn, or the patient's words where `input` is empty.

    Args:
        path: what to read.
        strict: make the first record that cannot be used an error.

    Returns:
        The usable dialogues, with every repair counted and every other record's number and fault.

    Raises:
        DataNotFoundError: when the file does not exist or cannot be read.
        DataFormatError: when it is not UTF-8, of another format or layout, or without a usable dialogue.
        ConfigError: when a setting is wrong.
    """
    stream = stream_dialogues(path, strict=strict)
    dialogues: list[Dialogue] = []
    problems: list[RecordProblem] = []
    for item in stream:
        if isinstance(item, RecordProblem):
            problems.append(item)
        else:
            dialogues.append(item)
    return DialogueFile(
        tuple(dialogues), stream.source, tuple(problems), dict(sorted(stream.repairs.items()))
    )
