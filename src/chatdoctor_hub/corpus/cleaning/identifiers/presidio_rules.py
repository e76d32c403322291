"""Rules that run Presidio's pattern recognizers, with conditions of ours on what they find.

A recognizer sees only the neighbourhoods in which it can find anything, each bounded in length: this is what
makes it fast, and what keeps a hostile text from holding it up. What a health forum writes looks like an
identifier more often than other text (doses, readings, a full stop without a space), hence the conditions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chatdoctor_hub.corpus.cleaning.identifiers.presidio_parts import load_recognizers
from chatdoctor_hub.corpus.cleaning.identifiers.view import Rule, Span, View

__all__ = ["PRESIDIO_KINDS", "PRESIDIO_RULES", "whole_text"]

Accept = Callable[[str, int, int], "Span | None"]


_CONTEXT = 2
"""Characters on either side that a recognizer sees of a neighbourhood."""


@dataclass(frozen=True)
class _Pattern:
    """One recognizer of Presidio.

    Args:
        score: below it a finding is dropped.
        cheap: true wherever `near` matches.
        near: neighbourhoods; whatever the recognizer finds and `accept` keeps lies within one.
        accept: given the text and the place found, the place to keep, or None.
        worth: given the text and a neighbourhood, whether `accept` could keep anything there; cheap.
    """

    kind: str
    score: float
    cheap: Callable[[View], bool]
    near: re.Pattern[str]
    accept: Accept
    worth: Callable[[str, int, int], bool] = lambda text, start, end: True

    def places(self, view: View) -> Iterator[Span]:
        text = view.latin
        for match in self.near.finditer(text):
            if self.worth(text, *match.span()):
                yield from self.found(text, *match.span())

    def found(self, text: str, start: int, end: int) -> Iterator[Span]:
        # What stands next to the place decides whether a word ends there.
        first = max(0, start - _CONTEXT)
        for found in load_recognizers()[self.kind].analyze(text[first : end + _CONTEXT], [], None):
            if found.score < self.score:
                continue
            kept = self.accept(text, first + found.start, first + found.end)
            if kept is not None and start <= kept[0] and kept[1] <= end:
                yield kept


def whole_text(kind: str, view: View) -> Iterator[Span]:
    """What the rule of `kind` finds where the recognizer is given the whole text: for comparison, slow."""
    pattern = next(item for item in _PATTERNS if item.kind == kind)
    near = [match.span() for match in pattern.near.finditer(view.latin)]
    for start, end in pattern.found(view.latin, 0, len(view.latin)):
        if any(first <= start and end <= last for first, last in near):
            yield start, end


def _before(text: str, start: int, characters: int = 40) -> str:
    return text[max(0, start - characters) : start].casefold()


def _any(text: str, start: int, end: int) -> Span | None:
    return start, end


_DASHED_SSN = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")
_SSN_WORD = re.compile(r"\bssn\b|social security")


def _ssn(text: str, start: int, end: int) -> Span | None:
    sure = _DASHED_SSN.fullmatch(text, start, end) or _SSN_WORD.search(_before(text, start))
    return (start, end) if sure and not _glued(text, start, end) else None


def _nhs(text: str, start: int, end: int) -> Span | None:
    return (start, end) if "nhs" in _before(text, start) and not _glued(text, start, end) else None


def _glued(text: str, start: int, end: int) -> bool:
    """Whether it goes on with digits behind a joint, and so is a part of something else."""
    return bool(
        re.search(r"[0-9][-./]$", text[max(0, start - 2) : start])
        or re.match(r"[-./][0-9]", text[end : end + 2])
    )


def _card(text: str, start: int, end: int) -> Span | None:
    return None if _glued(text, start, end) or len(set(text[start:end]) - {" ", "-"}) < 2 else (start, end)


_FULL_DATE = re.compile(
    r"[0-9]{4}([-/])[0-9]{1,2}\1[0-9]{1,2}|[0-9]{1,2}([-/.])[0-9]{1,2}\2[0-9]{4}|[0-9]{1,2}(/)[0-9]{1,2}/[0-9]{2}|"
    r"(?P<short>[0-9]{1,2}\.[0-9]{1,2}\.[0-9]{2})|[0-9]{4}-.*T.*"
)
_DATE_WORD = re.compile(r"(?:\b(?:on|since|dated?|dob|born|until|till|from|of|to|by)|[(:])[ :]{0,2}$")
_DATE_UNIT = re.compile(
    r"(?: ?(?:mg|mcg|ml|g|kg|mm|cm|units?|iu|mmhg|tablets?|%|x|days|weeks)\b|%|/[0-9])", re.IGNORECASE
)


def _date(text: str, start: int, end: int) -> Span | None:
    shape = _FULL_DATE.fullmatch(text, start, end)
    if shape is None or _DATE_UNIT.match(text, end) or _glued(text, start, end):
        return None
    if shape["short"] and not _DATE_WORD.search(_before(text, start, 12)):
        return None
    return start, end


_PHONE_WORD = re.compile(
    r"\b(?:phones?|tele?(?:phone)?|mob(?:ile)?|cell(?:phone)?|call(?:ed|ing)?|contact|whats ?app|fax|text(?:ed)?|reach|ring|"
    r"sms|ph|helpline|hotline|landline|dial|my number|his number|her number|number is|tel no)\b|电话|手机|联系方式"
)
_PHONE_SHAPE = re.compile(
    r"(?:\+|00)[0-9].*|\(?[0-9]{3}\)?[-.][0-9]{3}[-.][0-9]{4}|\([0-9]{3,5}\) ?[0-9]{3,4}[- ]?[0-9]{3,4}|"
    r"1[-.][0-9]{3}[-.][0-9]{3}[-.][0-9]{4}|0[0-9]{9,10}|0[0-9]{2,4} [0-9]{3,4} ?[0-9]{3,4}"
)
_PHONE_UNIT = re.compile(
    r" ?(?:[mkun]?g|mcg|ml|iu|units?|cells?|x ?10|per|%|/|mm|copies|platelets?)(?![a-z])", re.IGNORECASE
)


def _phone(text: str, start: int, end: int) -> Span | None:
    found = text[start:end]
    digits = sum("0" <= char <= "9" for char in found)
    if digits < 7 or _glued(text, start, end) or _PHONE_UNIT.match(text, end):
        return None
    word = _PHONE_WORD.search(_before(text, start, 30))
    return (start, end) if word or _PHONE_SHAPE.fullmatch(found) else None


_MAY_BE_PHONE = re.compile(
    r"\+[0-9]|00[0-9]|[0-9]{3}\)?[-.][0-9]{3}[-.]|\([0-9]{3,5}\)|0[0-9]{9}|0[0-9]{2,4} [0-9]{3,4} ?[0-9]"
)


def _worth_dialling(text: str, start: int, end: int) -> bool:
    word = _PHONE_WORD.search(text[max(0, start - 30) : end].casefold())
    return word is not None or _MAY_BE_PHONE.search(text, start, end) is not None


def _has(*marks: str) -> Callable[[View], bool]:
    return lambda view: any(mark in view.folded for mark in marks)


def _digits(view: View) -> bool:
    return view.digits


_PATTERNS = (
    _Pattern("email", 0.5, _has("@"), re.compile(r"(?<![^\s<>(\[,;:\"'])[^\s@<>(\[,;:\"']{1,80}@[^\s@]{1,253}"), _any),
    _Pattern("iban", 0.5, _digits, re.compile(r"(?<![A-Z0-9])[A-Z]{2}[0-9]{2}[ -]?[A-Z0-9]{4}[A-Z0-9 -]{4,40}"), _any),
    _Pattern("credit_card", 0.3, _digits, re.compile(r"(?<!\w)[0-9](?:[ -]?[0-9]){11,20}"), _card),
    _Pattern("us_ssn", 0.05, _digits, re.compile(r"(?<!\w)[0-9](?:[-. ]?[0-9]){8}(?!\w)"), _ssn),
    _Pattern("uk_nhs", 0.5, _has("nhs"), re.compile(r"(?<!\w)[0-9](?:[- ]?[0-9]){9}(?!\w)"), _nhs),
    _Pattern(
        "date",
        0.6,
        _digits,
        re.compile(r"(?<!\w)[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{2,4}(?:T[0-9:.]{4,20}(?:Z|[+-][0-9:]{4,6})?)?"),
        _date,
    ),
    _Pattern(
        "phone",
        0.4,
        _digits,
        re.compile(r"[+(]{0,2}[0-9](?:[-+() ./~]{0,4}[0-9]){6,24}(?:[ ,]{0,2}(?:x|ext\.?) ?[0-9]{1,6})?"),
        _phone,
        _worth_dialling,
    ),
)  # fmt: skip

PRESIDIO_RULES = tuple(Rule(item.kind, item.cheap, item.places) for item in _PATTERNS)
PRESIDIO_KINDS = frozenset(item.kind for item in _PATTERNS)
"""The kinds that need Presidio."""
