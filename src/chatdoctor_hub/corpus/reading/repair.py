"""One record of a dialogue file made into a `Dialogue`, its words repaired on the way.

Repaired are outer white space, speaker labels and leaked turns: generated answers sometimes go on past the
doctor's words into the patient's next turn (161 of the 5,452 GenMedGPT-5k answers of ChatDoctor, arXiv
2303.14070), often glued to the sentence before it. A model tuned on them learns to speak for the patient.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError

__all__ = [
    "LAYOUT_KEYS",
    "NO_DOCTOR",
    "UnusableRecordError",
    "dialogue_from_record",
    "json_kind",
    "repair_answer",
    "repair_question",
    "repair_words",
]

LAYOUT_KEYS = frozenset({"messages", "instruction", "input", "output"})
NO_DOCTOR = "no doctor turn"

_ROLES = {
    "system": "system",
    "user": "patient",
    "patient": "patient",
    "assistant": "doctor",
    "doctor": "doctor",
}
# sha256 of the lower-case words of the one instruction that all published ChatDoctor records share.
_CHATDOCTOR_INSTRUCTION = "ffb01c9361c343aab36414815506bdd013561449311ca4c10441c6f1f4733ba8"

_OUTER_WHITE_SPACE = "outer_white_space"
_BROKEN_CHARACTERS = "broken_characters"
_SPEAKER_LABELS = "speaker_labels"
_LEAKED_TURNS_CUT = "leaked_turns_cut"
_LEAKED_TURNS_SPLIT = "leaked_turns_split"

_COLON = r"\s{0,3}[:：]\*{0,2}"
_LABEL = re.compile(rf"(?<![\w*])\*{{0,2}}(Patient|PATIENT|Doctor|DOCTOR|ChatDoctor|CHATDOCTOR){_COLON}")
_LEADING_DOCTOR = re.compile(rf"\s*(?:\*{{0,2}}(?:Doctor|DOCTOR|ChatDoctor|CHATDOCTOR){_COLON}\s*)+")
_LEADING_PATIENT = re.compile(rf"\s*(?:\*{{0,2}}(?:Patient|PATIENT){_COLON}\s*)+")
_UNWRITABLE = re.compile("[\x00\ud800-\udfff]")
_SENTENCE_ENDS = frozenset(".!?…)。！？")
_CLOSING = "\"'”’)]*"
# Only this much text before a label is looked at, so that the work stays linear in the text's length.
_WINDOW = 24


class UnusableRecordError(Exception):
    """A record that cannot become a dialogue; its message is the reason, without the record's words."""


def dialogue_from_record(record: Any, number: str, source: str, repairs: set[str]) -> Dialogue:
    """Make a record of either layout into a dialogue.

    Args:
        record: a JSON value.
        number: becomes the dialogue's `id`.
        source: where the record comes from.
        repairs: receives the kind of each repair that was made.

    Raises:
        UnusableRecordError: with the reason.
    """
    if not isinstance(record, Mapping):
        raise UnusableRecordError(f"expected a JSON object, found {json_kind(record)}")
    if "messages" in record:
        turns = _from_messages(record["messages"], repairs)
    elif LAYOUT_KEYS & record.keys():
        turns = _from_alpaca(record, repairs)
    else:
        raise UnusableRecordError("neither 'messages' nor 'input' and 'output' in it")
    if not any(role == "doctor" for role, _ in turns):
        raise UnusableRecordError(NO_DOCTOR)
    if not any(role == "patient" for role, _ in turns):
        raise UnusableRecordError("no patient turn")
    topic = record.get("topic")
    try:
        return Dialogue(
            turns=tuple(Turn(role=role, content=words) for role, words in turns),  # type: ignore[arg-type]
            id=number,
            source=source,
            topic=repair_words(topic, set()) if isinstance(topic, str) else "",
        )
    except DataFormatError:
        raise UnusableRecordError("a system turn that is not the first turn") from None


def _from_alpaca(record: Mapping[str, Any], repairs: set[str]) -> list[tuple[str, str]]:
    instruction = repair_words(_text(record, "instruction"), repairs)
    question = repair_question(_text(record, "input"), repairs)
    answer = _text(record, "output")
    turns: list[tuple[str, str]] = []
    if _is_chatdoctors(instruction):
        pass
    elif question and instruction:
        turns.append(("system", instruction))
    else:
        question = question or repair_question(instruction, repairs)
    if question:
        turns.append(("patient", question))
    answers = repair_answer(answer, repairs)
    if not answers:
        raise UnusableRecordError(f"{NO_DOCTOR}: 'output' {_emptiness(answer)}")
    return turns + answers


def _from_messages(messages: Any, repairs: set[str]) -> list[tuple[str, str]]:
    if not isinstance(messages, list):
        raise UnusableRecordError(f"expected a list in 'messages', found {json_kind(messages)}")
    turns: list[tuple[str, str]] = []
    fault = ""
    for number, message in enumerate(messages, start=1):
        speaker, content = _speaker_and_content(number, message)
        if speaker == "doctor":
            answer = repair_answer(content, repairs)
        else:
            words = (
                repair_words(content, repairs) if speaker == "system" else repair_question(content, repairs)
            )
            answer = [(speaker, words)] if words else []
        if not answer and not fault:
            fault = f"message {number} {_emptiness(content)}"
        turns += answer
    if fault and any(role == "doctor" for role, _ in turns):
        raise UnusableRecordError(fault)
    return turns


def _speaker_and_content(number: int, message: Any) -> tuple[str, str]:
    if not isinstance(message, Mapping):
        raise UnusableRecordError(f"expected an object as message {number}, found {json_kind(message)}")
    role, content = message.get("role"), message.get("content")
    speaker = _ROLES.get(role) if isinstance(role, str) else None
    if speaker is None:
        raise UnusableRecordError(
            f"expected message {number} from system, user or assistant, found {_role(role)}"
        )
    if not isinstance(content, str):
        raise UnusableRecordError(
            f"expected text as the content of message {number}, found {json_kind(content)}"
        )
    return speaker, content


def _emptiness(text: str) -> str:
    return "holds none of the speaker's words" if text.strip() else "is empty"


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UnusableRecordError(f"expected text in {key!r}, found {json_kind(value)}")
    return value


def _is_chatdoctors(instruction: str) -> bool:
    words = " ".join(re.findall(r"[a-z]+", instruction.lower()))
    return hashlib.sha256(words.encode()).hexdigest() == _CHATDOCTOR_INSTRUCTION


def json_kind(value: Any) -> str:
    """A JSON value's type in words; never the value."""
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _role(role: Any) -> str:
    # A role could be anybody's words unless it looks like a role's name.
    if not isinstance(role, str):
        return json_kind(role)
    return repr(role) if role.isidentifier() and len(role) <= 20 else "another role"


def repair_words(text: str, repairs: set[str]) -> str:
    """Words without outer white space and without what UTF-8 or a tokenizer cannot hold.

    NUL and lone surrogates (half of a character, from a text cut at 16-bit units) are removed.

    Args:
        text: as found in the file.
        repairs: receives the kind of each repair that was made.
    """
    whole = _UNWRITABLE.sub("", text)
    if whole != text:
        repairs.add(_BROKEN_CHARACTERS)
    stripped = whole.strip()
    if stripped != whole:
        repairs.add(_OUTER_WHITE_SPACE)
    return stripped


def repair_question(text: str, repairs: set[str]) -> str:
    """A patient's words, repaired and without a leading "Patient:" label.

    "Doctor:" at the start stays: there it addresses the doctor.
    """
    words = repair_words(text, repairs)
    return _without_leading(_LEADING_PATIENT, words, repairs)


def repair_answer(text: str, repairs: set[str]) -> list[tuple[str, str]]:
    """A doctor's answer as (role, words) turns: one, or more where the answer leaks turns that alternate.

    A "Patient:" or "Doctor:" counts as a speaker's label at the start of a line or after the end of a
    sentence (white space between them or not), so that "a note to the patient: rest" stays as it is. Where
    the labelled turns alternate properly, they become turns, up to the last doctor's; where they do not, only
    what precedes the first label is kept.

    Args:
        text: the answer as found in the file.
        repairs: receives the kind of each repair that was made.

    Returns:
        Turns that begin and end with the doctor's; empty when the answer holds no doctor's words.
    """
    words = _without_leading(_LEADING_DOCTOR, repair_words(text, repairs), repairs)
    pieces = _pieces(words)
    if all(role == "doctor" for role, _ in pieces):
        return [("doctor", words)] if words else []
    turns = _doctor_to_doctor(pieces)
    # Every leak ends either in words that are cut or in a doctor's turn that is kept.
    if len(turns) < len(pieces):
        repairs.add(_LEAKED_TURNS_CUT)
    if len(turns) > 1:
        repairs.add(_LEAKED_TURNS_SPLIT)
    return turns


def _without_leading(label: re.Pattern[str], words: str, repairs: set[str]) -> str:
    match = label.match(words)
    if match is None:
        return words
    repairs.add(_SPEAKER_LABELS)
    return words[match.end() :]


def _pieces(words: str) -> list[tuple[str, str]]:
    """The text cut at its speaker labels; the first piece is the doctor's and carries none."""
    pieces: list[tuple[str, str]] = []
    role, begin = "doctor", 0
    for match in _LABEL.finditer(words):
        if not _begins_speech(words, match.start(), begin):
            continue
        pieces.append((role, words[begin : match.start()].strip()))
        role, begin = ("patient" if match[1].lower() == "patient" else "doctor"), match.end()
    pieces.append((role, words[begin:].strip()))
    return pieces


def _begins_speech(words: str, start: int, previous: int) -> bool:
    """Whether a label at `start` opens a speech: at a line's start, after a sentence, or after a label."""
    before = words[max(previous, start - _WINDOW) : start]
    text = before.rstrip()
    if not text or "\n" in before[len(text) :]:
        return True
    # A closing quote or bracket may stand after the full stop; a bracket alone may close a sentence too.
    return text[-1] in _SENTENCE_ENDS or text.rstrip(_CLOSING)[-1:] in _SENTENCE_ENDS


def _doctor_to_doctor(pieces: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pieces up to the last doctor's if speakers alternate, else the first piece alone."""
    kept = list(pieces)
    while kept and (kept[-1][0] == "patient" or not kept[-1][1]):
        kept.pop()
    alternate = all(one[0] != two[0] for one, two in itertools.pairwise(kept))
    if alternate and all(words for _, words in kept):
        return kept
    return pieces[:1] if pieces[0][1] else []
