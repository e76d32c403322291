"""What a generating model left in a dialogue that belongs to neither speaker.

A model that is asked for a dialogue sometimes steps out of it: a remark on its own work after the answer, the
request that it was given, or the doctor's words in the patient's place. (Of 4,000 published GenMedGPT-5k
records of ChatDoctor, arXiv 2303.14070, 26 end in a note; 21 of these speak of the dialogue and not of the
illness.) Notes on the illness are advice, and stay.
"""

from __future__ import annotations

import re

__all__ = ["asks_as_the_doctor", "holds_a_request", "without_remark"]

_NOTE = re.compile(
    r"(?:\A|(?<=[.!?…)\]\"'”’\n]))\s{0,5}[(\[]?\s?\*{0,2}(?:please\s{1,3})?note\b", re.IGNORECASE
)
_LONGEST_REMARK = 1000
_ON_THE_WORK = re.compile(
    r"\b(?:(?:this|the|imaginary|short)\s{1,3}(?:dialogue|conversation|dialog|exercise)\b|an?\s{1,3}dialogue\b"
    r"|back[- ]and[- ]forth\b|(?:the|this|requested)\s{1,3}prompt\b|illustrati(?:on|ve)\s{1,3}purposes?\b"
    r"|in\s{1,3}real(?:ity|[- ]world|[- ]life)\b)",
    re.IGNORECASE,
)
_DOCTOR_FROM_OUTSIDE = re.compile(r"\bthe\s{1,3}doctor\b", re.IGNORECASE)
_PATIENT_FROM_OUTSIDE = re.compile(r"\bthe\s{1,3}patient\b", re.IGNORECASE)
_REQUEST = re.compile(
    r"\b(?:generate|write|create|produce|simulate)\s{1,3}(?:me\s{1,3})?(?:an?|the|\d{1,4}|some)\s{1,3}"
    r"(?:\w{1,20}\s{1,3}){0,3}?(?:dialogues?|dialogs?|conversations?)\s{1,3}between\b",
    re.IGNORECASE,
)
_DOCTORS_OPENING = re.compile(
    r"\W{0,5}(?:(?:hello|hi|hey|good\s{1,3}(?:morning|afternoon|evening|day)|welcome)\b[^?!.]{0,40}[!.,]?\s{0,3})?"
    r"(?:so,?\s{1,3})?(?:what\s{1,3}(?:seems\s{1,3}to\s{1,3}be|is|are|has\s{1,3}been)\s{1,3}"
    r"(?:the\s{1,3})?(?:bothering|troubling|trouble|problem|matter|your\s{1,3}symptoms)\b"
    r"|what(?:'s|’s)\s{1,3}(?:the\s{1,3})?(?:bothering|troubling|trouble|problem|matter)\b"
    r"|what\s{1,3}brings\s{1,3}you\b|how\s{1,3}(?:can|may)\s{1,3}i\s{1,3}(?:help|assist)\s{1,3}you\b)"
    r"[^.!?]{0,60}\?\s{0,5}\Z",
    re.IGNORECASE,
)


def without_remark(words: str) -> str:
    """A doctor's words without the remark on the dialogue itself that they end in, or as they are."""
    if "note" not in words.lower():
        return words
    for note in _NOTE.finditer(words, max(0, len(words) - _LONGEST_REMARK)):
        remark = words[note.start() :]
        # What follows on a line of its own may be advice again.
        if "\n\n" not in remark.strip() and _is_on_the_work(remark):
            return words[: note.start()].rstrip()
    return words


def _is_on_the_work(remark: str) -> bool:
    if _ON_THE_WORK.search(remark):
        return True
    return bool(_DOCTOR_FROM_OUTSIDE.search(remark) and _PATIENT_FROM_OUTSIDE.search(remark))


def holds_a_request(words: str) -> bool:
    """Whether the request to a model, to write a dialogue, stands in the words."""
    return "between" in words and _REQUEST.search(words) is not None


def asks_as_the_doctor(words: str) -> bool:
    """Whether a patient's first words are nothing but the question with which a doctor begins."""
    return len(words) <= 160 and words.endswith("?") and _DOCTORS_OPENING.match(words) is not None
