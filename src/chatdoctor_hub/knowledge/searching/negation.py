"""Which words of a question deny a symptom: "no fever", "without a rash or itching", "I'm not coughing".

Rules over words, for short texts in English. "Can't sleep", "no appetite" and "unable to pee" deny nothing:
what cannot be done, and what the lexicon lists as missed when it is absent, are symptoms. Of a denial only what
is denied goes; after "but", a mark that ends a clause, or six words it is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

__all__ = ["affirmed"]

_MARKS = frozenset(".;?!:")
_DENYING = frozenset(("without", "deny", "denies", "denied", "denying", "neither", "nor", "zero"))
_NOT = frozenset(("not", "never"))
# After "not", these begin what is denied; the findings are denied themselves.
_HAVING_WORDS = """
have has had having any experience experienced experiencing got get getting notice noticed noticing see
seen developed show shows showing report reports reporting suffer suffered suffering
"""
_FINDINGS_WORDS = """
bleed bleeding bloated bloody breathless burn burning burns chesty choking confused constipated cough
coughing cramping depressed dizzy faint fainted fainting febrile feverish hot hurt hurting hurts inflamed
infected itch itches itching itchy jaundiced lightheaded nauseated nauseous numb pain painful pregnant
puffy red scaly shaking shivering short sick sneezing sore stiff suicidal sweating sweaty swollen tender
thirsty throbbing tingling tired vomit vomited vomiting weak wheeze wheezing wheezy yellow
"""
_BETWEEN_WORDS = """
a an any been being all at really very even actually currently so the to do i im
"""
_ENDING_WORDS = """
although and but except however just only still though yet because since i i'm i've he he's she she's they
we it it's my his her there which
"""
_HAVING = frozenset(_HAVING_WORDS.split())
_FINDINGS = frozenset(_FINDINGS_WORDS.split())
_BETWEEN = frozenset(_BETWEEN_WORDS.split())
_ENDING = frozenset(_ENDING_WORDS.split())
_JOINING = frozenset(("or", "nor", "and"))
_REACH = 6


def affirmed(words: Sequence[str], not_denied: Iterable[str]) -> list[str]:
    """The words of a plain text without those that are denied; a denial leaves a full stop in its place.

    Args:
        words: small letters, marks of punctuation as words of their own.
        not_denied: words of which a denial is a symptom.
    """
    kept: list[str] = []
    missed = frozenset(not_denied)
    at = 0
    while at < len(words):
        start = _denied_from(words, at, missed)
        if start:
            at = _end(words, start, missed)
            kept.append(".")
        else:
            kept.append(words[at])
            at += 1
    return kept


def _denied_from(words: Sequence[str], at: int, missed: frozenset[str]) -> int:
    """Where what is denied begins, if the word is the start of a denial; otherwise 0."""
    word, after = words[at], at + 1
    if word in _DENYING or word == "no" or words[at : at + 2] in (["free", "of"], ["negative", "for"]):
        start = after + (word in ("free", "negative"))
    elif word in _NOT or (word.endswith("n't") and word not in ("can't", "couldn't")):
        start = _skip(words, after, _BETWEEN)
        if start < len(words) and words[start] in _HAVING:
            start = _skip(words, start, _BETWEEN | _HAVING)
        elif start >= len(words) or words[start] not in _FINDINGS:
            return 0
    else:
        return 0
    start = _skip(words, start, _BETWEEN | _HAVING)
    if start >= len(words) or words[start] in _MARKS or missed.intersection(words[start : start + 2]):
        return 0
    return start


def _skip(words: Sequence[str], at: int, these: frozenset[str]) -> int:
    while at < len(words) and words[at] in these:
        at += 1
    return at


def _end(words: Sequence[str], start: int, missed: frozenset[str]) -> int:
    """Where the denial that begins at `start` is over; a list ("fever, chills or rash") is denied as a whole."""
    at = start
    room = _REACH
    while at < len(words) and room:
        word = words[at]
        if word in _MARKS or (word in _ENDING and word not in _JOINING):
            break
        if word in _JOINING or word == ",":
            if word == "and" or (word == "," and not _goes_on(words, at)):
                break
            room = _REACH
        room -= 1
        at += 1
    return at


def _goes_on(words: Sequence[str], comma: int) -> bool:
    """Whether a comma stands in a list that ends with "or": short items, and no clause of its own."""
    since = 0
    for word in words[comma + 1 :]:
        if word in ("or", "nor"):
            return True
        if word in _MARKS or word in _ENDING:
            return False
        since = 0 if word == "," else since + 1
        if since > 3:
            return False
    return False
