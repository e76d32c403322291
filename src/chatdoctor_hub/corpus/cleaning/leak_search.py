"""`find_leaks`: every pair of a training and an evaluation record that says the same, in whatever state either is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from chatdoctor_hub.corpus.cleaning.identifiers.deidentification import Deidentifier, has_placeholders
from chatdoctor_hub.corpus.cleaning.leaks import Leak, LeakChecker, not_a_record, weight_of
from chatdoctor_hub.corpus.cleaning.normalize import normalize, normalize_text
from chatdoctor_hub.corpus.cleaning.sketches import spoken_text
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError

__all__ = ["find_leaks"]

_Record = Dialogue | tuple[str, str]


def find_leaks(
    training: Iterable[_Record], evaluation: Iterable[_Record], threshold: float = 0.8
) -> list[Leak]:
    """Every pair of a training and an evaluation record that says the same, or nearly (`LeakChecker`).

    Evaluation records are looked for as they are, in normal form, and, in training records that hold placeholders
    of `deidentify`, with their own identifiers replaced; where evaluation records hold placeholders, those of the
    training records are (which takes a few milliseconds each). So cleaning does not hide a leak.

    Args:
        training: dialogues, or pairs of an id and a text, read once and not kept. A record without an id is
            called by its number, from 1.
        evaluation: the set that must stay apart, likewise, but kept.
        threshold: similarity from which a pair is a leak, above 0, at most 1.

    Returns:
        The pairs in the order of the training records, with their similarity.

    Raises:
        ConfigError, DataFormatError, MissingExtraError: as `LeakChecker`; also without the extra `deidentify`
            where records hold placeholders.
    """
    checker = _AllForms(_iterated(evaluation, "evaluation"), threshold)
    return [
        leak if leak.training_id else replace(leak, training_id=str(number))
        for number, record in enumerate(_iterated(training, "training"), start=1)
        for leak in checker.check(record)
    ]


class _AllForms:
    """Looks records up in an evaluation set as it is and as cleaning leaves it."""

    def __init__(self, evaluation: Iterable[_Record], threshold: float) -> None:
        self._names: list[str] = []
        records = [self._numbered(record) for record in evaluation]
        self._normal = [_normal(record) for record in records]
        changed = [new for old, new in zip(records, self._normal, strict=True) if new != old]
        self._plain = LeakChecker([*records, *changed], threshold)
        self._are_clean = any(has_placeholders(_text(record)) for record in records)

    def _numbered(self, record: Any) -> _Record:
        """The record, called by its number, which it keeps in every form; its name may be that of others."""
        number = str(len(self._names))
        if isinstance(record, Dialogue):
            self._names.append(record.id)
            return replace(record, id=number)
        if isinstance(record, tuple) and len(record) == 2 and all(isinstance(part, str) for part in record):
            self._names.append(record[0])
            return number, record[1]
        raise not_a_record(record)

    @cached_property
    def _deidentifier(self) -> Deidentifier:
        return Deidentifier()

    @cached_property
    def _without_identifiers(self) -> LeakChecker | None:
        """Of the records that de-identification changes; made when a training record asks for it."""
        changed = [new for old in self._normal if (new := _clean(old, self._deidentifier)) != old]
        return LeakChecker(changed, self._plain.threshold) if changed else None

    def check(self, record: _Record) -> list[Leak]:
        found = self._plain.check(record)
        if has_placeholders(_text(record)):
            found += self._without_identifiers.check(record) if self._without_identifiers else []
        elif self._are_clean:
            found += self._plain.check(_clean(_normal(record), self._deidentifier))
        best: dict[int, Leak] = {}
        for leak in found:
            number = int(leak.evaluation_id)
            if number not in best or weight_of(leak) > weight_of(best[number]):
                best[number] = leak
        return [
            replace(best[number], evaluation_id=self._names[number] or str(number + 1))
            for number in sorted(best, key=lambda number: (-best[number].similarity, number))
        ]


def _iterated(records: Any, what: str) -> Iterable[_Record]:
    if isinstance(records, Iterable) and not isinstance(records, (str, bytes, Mapping)):
        return records
    raise DataFormatError(
        f"Expected {what} records, found {type(records).__name__}; give a list of dialogues, or of pairs of an id "
        "and a text."
    )


def _text(record: _Record) -> str:
    return spoken_text(record) if isinstance(record, Dialogue) else record[1]


def _normal(record: _Record) -> _Record:
    if isinstance(record, Dialogue):
        return normalize(record)[0] or record
    return record[0], normalize_text(record[1])[0]


def _clean(record: _Record, deidentifier: Deidentifier) -> _Record:
    if isinstance(record, Dialogue):
        return deidentifier.dialogue(record)[0]
    return record[0], deidentifier.text(record[1])[0]
