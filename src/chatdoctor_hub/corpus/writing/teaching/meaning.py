"""Has a rewritten text kept its meaning? What can be told by rules, in English and Chinese.

Compared are the drugs, tests, conditions and warning signs that are named, the numbers with their units,
how often and when, what is negated, and how urgent it is. A text that drops or invents one of these is not
the same. Nothing else is compared: a rule cannot tell that an explanation is false.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from chatdoctor_hub.corpus.writing.grammar import read_data
from chatdoctor_hub.corpus.writing.sentences import chinese_share
from chatdoctor_hub.corpus.writing.teaching.lexicon import Lexicon
from chatdoctor_hub.corpus.writing.teaching.teacher import Fault
from chatdoctor_hub.corpus.writing.teaching.word_rules import rule
from chatdoctor_hub.corpus.writing.wording import stems

__all__ = ["changes_of_meaning", "numbers", "urgency"]

_FILE = "meaning-rules"
_CLAUSE = re.compile(r"[.,;:!?\n，。；：！？、（）()]| (?:but|however|although|because|and then|so that) ")
_HAN_NUMERALS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "半": 0.5}
_HAN_NUMBER = re.compile(r"[零一二两三四五六七八九十百半]+")
_DIGITS = re.compile(r"(?<![A-Za-z0-9_.])\d+(?:[.,]\d+)?")
_ONCE_OR_TWICE = re.compile(r"\b(?:once|twice)\b(?= (?:a|per|each|every|dai))", re.IGNORECASE)
_OF_EACH = re.compile(r"\s*[日天周次]\W?(?:服用?|口服|吃)?[一二两三四五六半\d]")
_SHORTEST, _LONGEST, _ROOM = 0.7, 6.0, 300


def changes_of_meaning(before: str, after: str, lexicon: Lexicon) -> list[Fault]:
    """What a rewritten text dropped or invented; empty when no rule sees a change.

    Args:
        before: the doctor's words.
        after: the same words rewritten.
        lexicon: the names to look for.
    """
    faults: list[Fault] = []
    found: tuple[tuple[str, Callable[[str], frozenset[str]]], ...] = (
        ("drug", lexicon.drugs),
        ("test", lexicon.tests),
        ("condition", lexicon.conditions),
        ("warning sign", lexicon.signs),
        ("number", numbers),
        ("schedule", _schedules),
    )
    for kind, names in found:
        faults += _differences(kind, names(before), names(after))
    faults += _negations(before, after)
    faults += _urgencies(before, after)
    return [*faults, *_shape(before, after)]


def _differences(kind: str, before: frozenset[str], after: frozenset[str]) -> Iterable[Fault]:
    for name in sorted(before - after):
        yield Fault(f"{kind} dropped", f"The {kind} {_said(name)!r} is missing; keep it as it was.")
    for name in sorted(after - before):
        yield Fault(f"{kind} invented", f"The {kind} {_said(name)!r} was not there; leave it out.")


def _said(name: str) -> str:
    return name.split(":")[-1]


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    return read_data("chatdoctor_hub.corpus.writing", _FILE)


@lru_cache(maxsize=1)
def _units() -> tuple[re.Pattern[str], dict[str, str]]:
    """A pattern for what stands right after a numeral, and the unit that each name means."""
    meant = {name: unit for unit, names in _data()["units"].items() for name in names}
    ordered = sorted(meant, key=len, reverse=True)
    parts = [
        re.escape(name) + (r"(?![a-z])" if name[-1].isascii() and name[-1].isalpha() else "")
        for name in ordered
    ]
    return re.compile(rf"[\s-]*({'|'.join(parts)})", re.IGNORECASE), meant


@lru_cache(maxsize=1)
def _english_numerals() -> re.Pattern[str]:
    names = "|".join(sorted(_data()["english_numerals"], key=len, reverse=True))
    return re.compile(rf"\b(?:{names})\b", re.IGNORECASE)


def numbers(text: str) -> frozenset[str]:
    """The numbers of a text with their units, spelled alike: "two tablets" and "2 pills" are "2 piece".

    Digits count always; number words only before a unit, since "one" and "一般" say no number. Both ends of
    a range take its unit.
    """
    text = text.replace("，", ", ").replace("～", "-").replace("~", "-")
    found = [
        (match.start(), match.end(), float(match.group().replace(",", ".")))
        for match in _DIGITS.finditer(text)
    ]
    numerals = _data()["english_numerals"]
    worded = [
        (m.start(), m.end(), float(numerals[m.group().lower()])) for m in _english_numerals().finditer(text)
    ]
    worded += [(m.start(), m.end(), _han_value(m.group())) for m in _HAN_NUMBER.finditer(text)]
    kept = {f"{value:g} {_unit(text, end)}".strip() for _, end, value in found}
    kept |= {f"{1 if match.group()[0] in 'oO' else 2} time" for match in _ONCE_OR_TWICE.finditer(text)}
    for _, end, value in worded:
        unit = _unit(text, end)
        # 一日三次 is a schedule, 一次两片 the size of a dose.
        each = value == 1 and unit in ("day", "week", "time") and _OF_EACH.match(text, end)
        if unit and not each:
            kept.add(f"{value:g} {unit}")
    return frozenset(kept)


def _unit(text: str, end: int) -> str:
    """The unit after a numeral, also behind the other end of a range."""
    pattern, meant = _units()
    rest = text[end : end + 40]
    other = re.match(
        r"\s*(?:-|–|—|to|or|至|到|或)\s*(?:\d+(?:\.\d+)?|[零一二两三四五六七八九十半]+|[a-z]+)",
        rest,
        re.IGNORECASE,
    )
    for start in (0, other.end() if other else 0):
        match = pattern.match(rest, start)
        if match:
            return meant[match.group(1).lower()]
    return ""


def _han_value(text: str) -> float:
    """The value of a Chinese numeral up to 999; "半" is a half."""
    total, current = 0.0, 0.0
    for sign in text:
        if sign == "十":
            total, current = total + (current or 1) * 10, 0.0
        elif sign == "百":
            total, current = total + (current or 1) * 100, 0.0
        else:
            current = current + 0.5 if sign == "半" else float(_HAN_NUMERALS[sign])
    return total + current


def _schedules(text: str) -> frozenset[str]:
    names = ("daily", "weekly", "monthly", "before meals", "after meals", "at night", "in the morning")
    patterns = _data()["schedules"]
    return frozenset(
        name for name, pattern in zip(names, patterns, strict=True) if re.search(pattern, text, re.IGNORECASE)
    )


def urgency(text: str) -> frozenset[str]:
    """How urgent a text is: "emergency", "at_once", "soon", "doctor" (that one should be seen)."""
    kinds = ("emergency", "at_once", "soon", "doctor")
    return frozenset(kind for kind in kinds if rule(_FILE, "urgency", kind).search(text))


def _urgencies(before: str, after: str) -> Iterable[Fault]:
    was, is_now = urgency(before), urgency(after)
    for kind in sorted(was - is_now):
        # What is to be done at once is not less urgent in an ambulance.
        if not (kind == "soon" and "at_once" in was & is_now):
            yield Fault("urgency dropped", "It says less clearly how urgent it is or whom to see; keep that.")
    for kind in sorted((is_now - was) & {"emergency", "at_once"}):
        yield Fault(
            "urgency invented", f"It is more urgent than it was ({kind.replace('_', ' ')}); do not add that."
        )


def _negations(before: str, after: str) -> Iterable[Fault]:
    """What is negated must be negated after, each in a place of its own, and nothing else may be."""
    was = [parts for parts, harmless in _negated(before) if not harmless]
    is_now = [parts for parts, _ in _negated(after)]
    pairs = sorted(
        (-len(old & new), one, other)
        for one, old in enumerate(was)
        for other, new in enumerate(is_now)
        if old & new
    )
    kept, taken = set(), set()
    for _, one, other in pairs:
        if one not in kept and other not in taken:
            kept.add(one)
            taken.add(other)
    if len(kept) < len(was):
        yield Fault(
            "negation dropped", "Something that was denied or forbidden no longer is; keep every 'not'."
        )
    every = [parts for parts, _ in _negated(before)]
    if any(not harmless and not any(parts & old for old in every) for parts, harmless in _negated(after)):
        yield Fault("negation invented", "Something is denied or forbidden that was not; do not add that.")


def _negated(text: str) -> list[tuple[frozenset[str], bool]]:
    """What each "no" of a text is about: the word parts after it, and whether it changes nothing."""
    found = []
    for clause in _CLAUSE.split(text):
        chinese = chinese_share(clause) > 0.3
        for match in rule(_FILE, "negations", "chinese" if chinese else "english").finditer(clause):
            rest = clause[match.end() :]
            parts = _pairs(rest[:10]) if chinese else stems(" ".join(rest.split()[:7]))
            harmless = bool(rule(_FILE, "harmless_negations").search(match.group() + rest[:20])) or not parts
            found.append((parts, harmless))
    return found


def _pairs(text: str) -> frozenset[str]:
    """The pairs of neighbouring signs of a Chinese text."""
    plain = re.sub(r"\W", "", text)
    return frozenset(plain[place : place + 2] for place in range(len(plain) - 1)) or frozenset(
        filter(None, [plain])
    )


def _shape(before: str, after: str) -> Iterable[Fault]:
    if not _SHORTEST * len(before) <= len(after) <= _LONGEST * len(before) + _ROOM:
        yield Fault("length", "It became much shorter or much longer; stay close to what is there.")
    if abs(chinese_share(before) - chinese_share(after)) > 0.4:
        yield Fault("language", "It is in another language; keep the language.")
    asked_before, asked_after = (len(re.findall(r"[?？]", text)) for text in (before, after))
    if asked_after > asked_before:
        yield Fault("question invented", "It asks something that was not asked; ask nothing.")
