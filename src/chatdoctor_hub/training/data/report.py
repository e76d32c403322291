"""`DataReport`: what was read, what of it is learned from, and what was left out and why."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DataReport", "Tallies"]

_NAMED = 10  # records that are named for each reason
_REASONS = 50  # kinds of reasons; the rest are summed up
_VALUE = re.compile(r"\d+|'[^']*'|\"[^\"]*\"")


@dataclass(frozen=True)
class DataReport:
    """Counts of the data of a run; no words of theirs.

    Args:
        sources: names of what was read.
        digest: sha256 (hex) over the words of all dialogues that are used, their weights and their splits, in
            order.
        training: dialogues to tune on, safety dialogues and repetitions by weight among them.
        validation: dialogues to validate with.
        read: records read.
        shortened: dialogues whose oldest turns were left out to fit.
        skipped: reason -> dialogues that were left out.
        problems: reason -> records that could not be read.
        tokens: of the training dialogues.
        labelled_tokens: those of them that are learned.
        safety: reason -> dialogues with safety wording in their system words, which are used because the
            recipe allows it.
        mixed: safety dialogues that were added.
        records: reason -> the first records that it holds for, where any were shortened, skipped or had
            problems.
    """

    sources: tuple[str, ...]
    digest: str
    training: int
    validation: int
    read: int
    shortened: int
    skipped: dict[str, int]
    problems: dict[str, int]
    tokens: int
    labelled_tokens: int
    safety: dict[str, int] = field(default_factory=dict)
    mixed: int = 0
    records: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """As JSON has it; `from_record` reads it back."""
        record = dataclasses.asdict(self)
        record["sources"] = list(self.sources)
        record["records"] = {reason: list(names) for reason, names in self.records.items()}
        return record

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> DataReport:
        """Read a report back.

        Raises:
            TypeError, KeyError, AttributeError: for what is none.
        """
        values = dict(record)
        values["sources"] = tuple(values["sources"])
        values["records"] = {reason: tuple(names) for reason, names in values["records"].items()}
        return cls(**values)


class Tallies:
    """Counts by reason, with the first records of each."""

    def __init__(self) -> None:
        self.read = 0
        self.shortened = 0
        self.mixed = 0
        self.skipped: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()
        self.records: dict[str, list[str]] = {}

    def skip(self, reason: str, record: str, copies: int = 1) -> None:
        """A dialogue that is left out, as often as it would have been used."""
        self.skipped[reason] += copies
        self._name(reason, record)

    def problem(self, reason: str, record: str) -> None:
        """A record that could not be read; numbers and quoted values in the reason do not tell kinds apart."""
        kind = _VALUE.sub("…", reason)
        if kind not in self.problems and len(self.problems) >= _REASONS:
            kind = "other reasons"
        self.problems[kind] += 1
        self._name(kind, record)

    def shorten(self, record: str) -> None:
        """A dialogue whose oldest turns were left out."""
        self.shortened += 1
        self._name("shortened", record)

    def why_nothing(self) -> str:
        """All reasons, for the message that nothing is left."""
        counts = self.skipped + self.problems
        return "; ".join(f"{reason}: {count}" for reason, count in counts.most_common(5)) or "there was none"

    def _name(self, reason: str, record: str) -> None:
        named = self.records.setdefault(reason, [])
        if len(named) < _NAMED and record not in named:
            named.append(record)
