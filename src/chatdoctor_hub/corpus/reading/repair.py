"""The words of a record repaired on their way into a `Dialogue`.

Repaired are outer white space, speaker labels and leaked turns: generated answers sometimes go on past the
doctor's words into the patient's next turn (161 of the 5,452 GenMedGPT-5k answers of ChatDoctor, arXiv
2303.14070), often glued to the sentence before it. A model tuned on them learns to speak for the patient.
"""

from __future__ import annotations

import itertools
import re

__all__ = [
    "NO_DOCTOR",
    "UnknownLayoutError",
    "UnusableRecordError",
    "repair_answer",
    "repair_question",
    "repair_words",
]

NO_DOCTOR = "no doctor turn"

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


class UnknownLayoutError(UnusableRecordError):
    """A record of no known layout, or of another than the one expected."""


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
    # Most answers have no colon, and so no label.
    pieces = _pieces(words) if ":" in words or "：" in words else [("doctor", words)]
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
