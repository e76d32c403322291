"""`Turn` and `Dialogue`: what was said between a patient and a doctor, as frozen values."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from chatdoctor_hub.errors import DataFormatError

__all__ = ["Dialogue", "Role", "Turn"]

Role = Literal["system", "patient", "doctor"]

_TO_HUB = {"system": "system", "patient": "user", "doctor": "assistant"}
_FROM_HUB = {hub: ours for ours, hub in _TO_HUB.items()} | {"patient": "patient", "doctor": "doctor"}


@dataclass(frozen=True)
class Turn:
    """One speaker's words.

    Outer white space carries no meaning and is removed, so that every renderer gives back the same
    words.

    Args:
        role: "patient", "doctor", or "system" for an instruction that came with the data.
        content: what was said; not empty.

    Raises:
        DataFormatError: for another role, or for content that is empty or not a string.
    """

    role: Role
    content: str

    def __post_init__(self) -> None:
        if self.role not in get_args(Role):
            raise DataFormatError(
                f"Expected the role of a turn to be one of {', '.join(get_args(Role))}, found {self.role!r}; "
                "Hub messages are read with Dialogue.from_messages."
            )
        if not isinstance(self.content, str):
            raise DataFormatError(
                f"Expected the content of a {self.role} turn to be text, found "
                f"{type(self.content).__name__}; turn it into a string first."
            )
        stripped = self.content.strip()
        if not stripped:
            raise DataFormatError(f"Expected words in a {self.role} turn, found none; leave the turn out.")
        object.__setattr__(self, "content", stripped)


@dataclass(frozen=True)
class Dialogue:
    """A conversation: an optional system turn, then patient and doctor turns.

    Args:
        turns: in the order spoken; at least one.
        id: a name that is unique within its source, or "".
        source: where it comes from, for provenance ("starter", a file name, a Hub id), or "".
        topic: the disease it is about where that is known, or "".

    Raises:
        DataFormatError: when there is no turn, or a system turn is not the first.
    """

    turns: tuple[Turn, ...]
    id: str = ""
    source: str = ""
    topic: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", tuple(self.turns))
        if not self.turns:
            raise DataFormatError("Expected a dialogue with at least one turn, found none; leave it out.")
        if any(turn.role == "system" for turn in self.turns[1:]):
            raise DataFormatError(
                "Expected a system turn only at the start of a dialogue, found one later; move or drop it."
            )

    @property
    def doctor_turns(self) -> tuple[Turn, ...]:
        """The doctor's turns, in order."""
        return tuple(turn for turn in self.turns if turn.role == "doctor")

    @property
    def patient_turns(self) -> tuple[Turn, ...]:
        """The patient's turns, in order."""
        return tuple(turn for turn in self.turns if turn.role == "patient")

    @property
    def digest(self) -> str:
        """sha256 (hex) of the roles and words alone; id, source and topic do not count."""
        pairs = [[turn.role, turn.content] for turn in self.turns]
        return hashlib.sha256(
            json.dumps(pairs, ensure_ascii=False).encode("utf-8", "surrogatepass")
        ).hexdigest()

    def to_messages(self) -> list[dict[str, str]]:
        """The Hub's `messages` format: `{"role": "user" | "assistant" | "system", "content": …}`."""
        return [{"role": _TO_HUB[turn.role], "content": turn.content} for turn in self.turns]

    @classmethod
    def from_messages(
        cls,
        messages: Sequence[Mapping[str, Any]] | Iterable[Mapping[str, Any]],
        *,
        id: str = "",
        source: str = "",
        topic: str = "",
    ) -> Dialogue:
        """Read the Hub's `messages` format; the roles "patient" and "doctor" are understood as well.

        Raises:
            DataFormatError: naming the message by its number (from 0) and what is wrong with it.
        """
        turns = []
        for number, message in enumerate(messages):
            if not isinstance(message, Mapping) or "role" not in message or "content" not in message:
                raise DataFormatError(
                    f"Expected message {number} to be a mapping with 'role' and 'content', found "
                    f"{sorted(message) if isinstance(message, Mapping) else type(message).__name__}; "
                    "use the Hub's messages format."
                )
            role = _FROM_HUB.get(message["role"]) if isinstance(message["role"], str) else None
            if role is None:
                raise DataFormatError(
                    f"Expected the role of message {number} to be user, assistant or system, found "
                    f"{message['role']!r}; map it to one of these."
                )
            turns.append(Turn(role=role, content=message["content"]))  # type: ignore[arg-type]
        return cls(turns=tuple(turns), id=id, source=source, topic=topic)
