"""Identifiers out of texts and dialogues, each replaced by a placeholder: `Deidentifier`, `deidentify`.

What is claimed, kind by kind, is `KINDS`; what it is worth is measured by `audit`. A text without identifiers
comes back as it is: whole words only, and no word that is not an identifier.
"""

from __future__ import annotations

import re
from bisect import bisect
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import lru_cache

from chatdoctor_hub.corpus.cleaning.identifiers.chinese_names import CHINESE_NAME_RULES
from chatdoctor_hub.corpus.cleaning.identifiers.dates import DATE_RULES
from chatdoctor_hub.corpus.cleaning.identifiers.kinds import KINDS, Finding, chosen_kinds
from chatdoctor_hub.corpus.cleaning.identifiers.names import NAME_RULES
from chatdoctor_hub.corpus.cleaning.identifiers.numbers import NUMBER_RULES
from chatdoctor_hub.corpus.cleaning.identifiers.places import PLACE_RULES
from chatdoctor_hub.corpus.cleaning.identifiers.presidio_parts import require_presidio
from chatdoctor_hub.corpus.cleaning.identifiers.presidio_rules import PRESIDIO_KINDS, PRESIDIO_RULES
from chatdoctor_hub.corpus.cleaning.identifiers.view import View
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError

__all__ = ["Deidentifier", "deidentify", "has_placeholders", "identifiers"]

_RULES = (*PRESIDIO_RULES, *NUMBER_RULES, *DATE_RULES, *PLACE_RULES, *NAME_RULES, *CHINESE_NAME_RULES)
_LABELS = "|".join(sorted({kind.label for kind in KINDS.values()}))
_PLACEHOLDER = re.compile(rf"\[({_LABELS}) ([0-9]{{1,9}})\]")
_PASSES = 8
_RANK = {kind: rank for rank, kind in enumerate(KINDS)}


def identifiers(text: str, kinds: Iterable[str] | None = None, *, prefilter: bool = True) -> list[Finding]:
    """What one pass over a text finds: sorted, none overlapping another or a placeholder.

    Args:
        text: any string.
        kinds: ids of `KINDS`; None for all.
        prefilter: False runs every rule even where a cheap test says that it finds nothing; the findings are
            the same.

    Raises:
        ConfigError: an unknown kind.
        MissingExtraError: a kind that needs Presidio, which is not installed.
    """
    return _identifiers(text, frozenset(chosen_kinds(kinds)), prefilter=prefilter)


def _identifiers(text: str, kinds: frozenset[str], *, prefilter: bool = True) -> list[Finding]:
    view = View(text)
    found = [
        (_RANK[rule.kind], start, end)
        for rule in _RULES
        if rule.kind in kinds and (not prefilter or rule.may_match(view))
        for start, end in rule.find(view)
    ]
    if not found:
        return []
    order = tuple(KINDS)
    taken = [match.span() for match in _PLACEHOLDER.finditer(text)] if "[" in text else []
    kept = []
    for rank, start, end in sorted(found, key=lambda item: (item[0], item[1] - item[2], item[1])):
        after = bisect(taken, (start, end))
        clear = (after == 0 or taken[after - 1][1] <= start) and (
            after == len(taken) or end <= taken[after][0]
        )
        if clear and start < end:
            taken.insert(after, (start, end))
            kept.append(Finding(order[rank], start, end))
    return sorted(kept, key=lambda finding: finding.start)


def has_placeholders(text: str) -> bool:
    """Whether a text holds a placeholder such as `[NAME 1]`, and so was de-identified, as far as one can tell."""
    return "[" in text and _PLACEHOLDER.search(text) is not None


class Deidentifier:
    """Replaces identifiers by placeholders such as `[NAME 1]`; the same value gets the same one.

    Placeholders are plain ASCII, keep the title before a name, and are left alone when a text is cleaned again.
    Numbers go on after those that a text already holds. Safe for use in many threads.

    Args:
        kinds: ids of `KINDS`; None for all.

    Raises:
        ConfigError: an unknown kind.
        MissingExtraError: a kind that needs Presidio, which is not installed.
    """

    def __init__(self, kinds: Iterable[str] | None = None) -> None:
        self.kinds = chosen_kinds(kinds)
        self._wanted = frozenset(self.kinds)
        if self._wanted & PRESIDIO_KINDS:
            require_presidio()

    def text(self, text: str) -> tuple[str, tuple[Finding, ...]]:
        """The clean text, and where in the text given something was replaced, in order; any string will do.

        Raises:
            DataFormatError: when it is no string.
        """
        if not isinstance(text, str):
            raise DataFormatError(
                f"Expected a text to de-identify, found {type(text).__name__}; pass a string, or a dialogue to "
                "Deidentifier.dialogue."
            )
        return self._clean(text, _Placeholders([text]))

    def dialogue(self, dialogue: Dialogue) -> tuple[Dialogue, tuple[Finding, ...]]:
        """The same for all turns, with placeholders that are consistent among them; id and source stay.

        Raises:
            DataFormatError: when it is no dialogue.
        """
        if not isinstance(dialogue, Dialogue):
            raise DataFormatError(
                f"Expected a dialogue to de-identify, found {type(dialogue).__name__}; make one with "
                "Dialogue.from_messages."
            )
        placeholders = _Placeholders([turn.content for turn in dialogue.turns])
        turns: list[Turn] = []
        findings: list[Finding] = []
        for number, turn in enumerate(dialogue.turns):
            clean, found = self._clean(turn.content, placeholders)
            turns.append(replace(turn, content=clean) if found else turn)
            findings.extend(replace(finding, turn=number) for finding in found)
        if not findings:
            return dialogue, ()
        return replace(dialogue, turns=tuple(turns)), tuple(findings)

    def _clean(self, text: str, placeholders: _Placeholders) -> tuple[str, tuple[Finding, ...]]:
        clean, made = text, list[_Replaced]()
        # What was replaced may have hidden something: the clean text is looked at again until nothing is found.
        for _ in range(_PASSES):
            found = _identifiers(clean, self._wanted)
            if not found:
                break
            made = sorted([*made, *placeholders.replacements(text, _unshifted(found, made))])
            clean = _filled(text, made)
        return clean, tuple(finding for _, _, finding, _ in made)


def deidentify(text: str) -> tuple[str, tuple[Finding, ...]]:
    """The text with every identifier of `KINDS` replaced by a placeholder, and where they stood.

    Raises:
        DataFormatError: when it is no string.
        MissingExtraError: Presidio is not installed.
    """
    return _for_all_kinds().text(text)


@lru_cache(maxsize=1)
def _for_all_kinds() -> Deidentifier:
    return Deidentifier()


_Replaced = tuple[int, int, Finding, str]
"""Start and end in the original text, the finding, and what stands in its place."""


def _unshifted(found: Iterable[Finding], made: Iterable[_Replaced]) -> list[Finding]:
    """Findings in a clean text as findings in the original, which was changed as `made` says."""
    shift, waiting, original = 0, deque(made), []
    for finding in found:
        while waiting and waiting[0][0] - shift < finding.start:
            start, end, _, placeholder = waiting.popleft()
            shift += end - start - len(placeholder)
        original.append(replace(finding, start=finding.start + shift, end=finding.end + shift))
    return original


def _filled(text: str, made: Iterable[_Replaced]) -> str:
    parts, place = [], 0
    for start, end, _, placeholder in made:
        parts += [text[place:start], placeholder]
        place = end
    return "".join([*parts, text[place:]])


class _Placeholders:
    """Which placeholder stands for which value, in one text or dialogue."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._last: Counter[str] = Counter()
        for text in texts:
            for match in _PLACEHOLDER.finditer(text) if "[" in text else ():
                self._last[match[1]] = max(self._last[match[1]], int(match[2]))

    def replacements(self, text: str, findings: Iterable[Finding]) -> Iterator[_Replaced]:
        for finding in findings:
            label = KINDS[finding.kind].label
            key = label, _value(label, text[finding.start : finding.end])
            if key not in self._given:
                self._last[label] += 1
                self._given[key] = f"[{label} {self._last[label]}]"
            yield finding.start, finding.end, finding, self._given[key]


_NUMBERS = frozenset({"PHONE", "CARD", "SSN", "NHS", "ID", "NUMBER", "IBAN"})


def _value(label: str, text: str) -> str:
    """What two writings of one value have in common."""
    if label in _NUMBERS:
        return "".join(char for char in text.casefold() if char.isalnum())
    return " ".join((text.replace(".", " ") if label == "NAME" else text).casefold().split())
