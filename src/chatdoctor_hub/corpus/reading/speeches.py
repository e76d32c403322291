"""Who says what in the lists of a record: roles told, words repaired, sentences joined to turns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatdoctor_hub.corpus.reading.records import json_kind
from chatdoctor_hub.corpus.reading.repair import (
    UnusableRecordError,
    repair_answer,
    repair_question,
    repair_words,
)

__all__ = ["ANY_ROLES", "HUB_ROLES", "Turns", "emptiness", "joined", "said", "speeches", "text_of"]

Turns = list[tuple[str, str]]
"""The role and the words of each turn."""

_TURNS_JOINED = "turns_joined"

HUB_ROLES = {
    "system": "system",
    "user": "patient",
    "patient": "patient",
    "assistant": "doctor",
    "doctor": "doctor",
}
ANY_ROLES = HUB_ROLES | {
    "human": "patient",
    "patients": "patient",
    "患者": "patient",
    "病人": "patient",
    "gpt": "doctor",
    "chatgpt": "doctor",
    "bot": "doctor",
    "model": "doctor",
    "chatdoctor": "doctor",
    "医生": "doctor",
}


def speeches(
    messages: Any,
    repairs: set[str],
    roles: Mapping[str, str],
    names: tuple[str, str] = ("role", "content"),
    key: str = "messages",
    may_be_empty: bool = False,
) -> Turns:
    """The turns of a list of messages.

    Args:
        messages: what stands under `key` in the record.
        repairs: receives the kind of each repair that was made.
        roles: the roles that are understood.
        names: the keys of a message for its role and its content.
        key: for messages.
        may_be_empty: leave empty messages out; else they make the record unusable.

    Raises:
        UnusableRecordError: with the reason.
    """
    if not isinstance(messages, list):
        raise UnusableRecordError(f"expected a list in {key!r}, found {json_kind(messages)}")
    turns: Turns = []
    fault = ""
    for number, message in enumerate(messages, start=1):
        speaker, content = _speaker_and_content(number, message, roles, names)
        words = said(speaker, content, repairs)
        if not words and not fault and not may_be_empty:
            fault = f"message {number} {emptiness(content)}"
        turns += words
    if fault and any(role == "doctor" for role, _ in turns):
        raise UnusableRecordError(fault)
    return turns


def said(role: str, content: str, repairs: set[str]) -> Turns:
    """One speaker's words, repaired; several turns where the doctor's leak some, none where nothing is left."""
    if role == "doctor":
        return repair_answer(content, repairs)
    words = repair_words(content, repairs) if role == "system" else repair_question(content, repairs)
    return [(role, words)] if words else []


def _speaker_and_content(
    number: int, message: Any, roles: Mapping[str, str], names: tuple[str, str]
) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise UnusableRecordError(f"expected an object as message {number}, found {json_kind(message)}")
    role, content = message.get(names[0]), message.get(names[1])
    speaker = roles.get(role) if isinstance(role, str) else None
    if speaker is None and roles is ANY_ROLES and isinstance(role, str):
        speaker = roles.get(role.casefold())
    if speaker is None:
        raise UnusableRecordError(
            f"expected message {number} from system, user or assistant, found {_role(role)}"
        )
    if not isinstance(content, str):
        raise UnusableRecordError(
            f"expected text as the content of message {number}, found {json_kind(content)}"
        )
    return speaker, content


def joined(turns: Iterable[tuple[str, str]], repairs: set[str]) -> Turns:
    """Sentences that one speaker says in a row as one turn."""
    made: Turns = []
    for role, words in turns:
        if made and made[-1][0] == role:
            made[-1] = (role, f"{made[-1][1]}\n{words}")
            repairs.add(_TURNS_JOINED)
        else:
            made.append((role, words))
    return made


def emptiness(text: str) -> str:
    """Why nothing is left of a text, for a problem's reason."""
    return "holds none of the speaker's words" if text.strip() else "is empty"


def text_of(record: Mapping[str, Any], key: str) -> str:
    """The text under a key, "" where there is none; UnusableRecordError where it is something else."""
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnusableRecordError(f"expected text in {key!r}, found {json_kind(value)}")
    return value


def _role(role: Any) -> str:
    # A role could be anybody's words unless it looks like a role's name.
    if not isinstance(role, str):
        return json_kind(role)
    return repr(role) if role.isidentifier() and len(role) <= 20 else "another role"
