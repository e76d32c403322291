"""`clean_record`: what is done to one dialogue by itself, whoever calls it and in whatever order."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from chatdoctor_hub.corpus.cleaning import normalize
from chatdoctor_hub.dialogue import Dialogue

if TYPE_CHECKING:
    from chatdoctor_hub.corpus.cleaning import Deidentifier

__all__ = ["CleaningRules", "Rejection", "clean_record", "word_count"]

# Scripts written without spaces: each character is taken for a word.
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")


@dataclass(frozen=True)
class CleaningRules:
    """What `clean_record` does; the part of a `CorpusConfig` that it needs.

    Args:
        min_words: words that the patient, and the doctor, must each have said in the whole dialogue.
        max_words: words that the whole dialogue may have; None for any number.
        deidentify: whether names, numbers and addresses are replaced by placeholders.
    """

    min_words: int = 3
    max_words: int | None = 10_000
    deidentify: bool = True


@dataclass(frozen=True)
class Rejection:
    """Why a dialogue is left out.

    Args:
        step: the step that left it out: "read", "normalise", "length", "duplicates" or "leaks".
        reason: in a few words; never the dialogue's.
        other: for duplicates and leaks, which record it repeats; else "".
    """

    step: str
    reason: str
    other: str = ""


def clean_record(
    dialogue: Dialogue, rules: CleaningRules, counts: Counter[tuple[str, str]] | None = None
) -> Dialogue | Rejection:
    """Normalise one dialogue, leave it out when it is too short or too long, and de-identify it.

    The result depends on the arguments alone, so that any number of processes give the same corpus.

    Args:
        dialogue: as a reader made it.
        rules: what to do.
        counts: receives what was changed: ("normalise", kind) once a dialogue, ("deidentify", kind) once an
            identifier.

    Returns:
        The clean dialogue, with the id, source and topic it came with, or why it is left out.
    """
    counts = Counter() if counts is None else counts
    normal, kinds = normalize(dialogue)
    counts.update(("normalise", kind) for kind in kinds)
    if normal is None:
        return Rejection("normalise", "nothing left of a speaker's words")
    if rejection := _misfit(normal, rules):
        return rejection
    if not rules.deidentify:
        return normal
    clean, findings = _deidentifier().dialogue(normal)
    counts.update(("deidentify", finding.kind) for finding in findings)
    return clean


def word_count(text: str) -> int:
    """The number of words: what stands between white space, or characters of scripts without spaces."""
    if text.isascii():
        return len(text.split())
    spaced, unspaced = _UNSPACED.subn(" ", text)
    return len(spaced.split()) + unspaced


def _misfit(dialogue: Dialogue, rules: CleaningRules) -> Rejection | None:
    words = {"patient": 0, "doctor": 0, "system": 0}
    for turn in dialogue.turns:
        words[turn.role] += word_count(turn.content)
    for speaker in ("patient", "doctor"):
        if words[speaker] < rules.min_words:
            return Rejection("length", f"fewer than {rules.min_words} words of the {speaker}")
    if rules.max_words is not None and sum(words.values()) > rules.max_words:
        return Rejection("length", f"more than {rules.max_words} words")
    return None


@lru_cache(maxsize=1)
def _deidentifier() -> Deidentifier:
    from chatdoctor_hub.corpus.cleaning import Deidentifier

    return Deidentifier()
