"""`LeakChecker`: evaluation records that stand in the training data, word for word, edited, or inside a text.

LLM-Adapters (arXiv 2304.01933) tuned on a file that holds about 80 % of each of its mathematical test sets;
a score on such a set says nothing. The check costs seconds.

Unlike near-duplicates, which are estimated, leaks are found by exact counts of shared shingles, and none at
or above the threshold is missed: a text that shares a share t of a set of n shingles has at least one of its
n − ⌈tn⌉ + 1 rarest, so only these are indexed (prefix filtering: S. Chaudhuri, V. Ganti, R. Kaushik, "A
primitive operator for similarity joins in data cleaning", ICDE 2006).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from chatdoctor_hub.corpus.cleaning.sketches import shingles, spoken_text
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, DataFormatError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Leak", "LeakChecker", "not_a_record", "weight_of"]

_FEWEST = 8
"""Shingles from which words say where they come from: ten words, or twelve characters of Chinese."""

_Part = Literal["question", "answer", "whole"]
_Parts = dict[_Part, "NDArray[np.uint64]"]
_KINDS = ("contained", "near", "exact")  # in the order in which they convince


@dataclass(frozen=True)
class Leak:
    """A training record that holds an evaluation record, or most of it.

    Args:
        training_id: the training record's id.
        evaluation_id: the evaluation record's id.
        similarity: 1.0 for "exact"; the Jaccard similarity of the shingles for "near"; the share of the
            evaluation question's shingles that stand in the training text for "contained".
        kind: how it was found.
        part: what of the evaluation record was found: "question", "answer" or "whole".
    """

    training_id: str
    evaluation_id: str
    similarity: float
    kind: Literal["exact", "near", "contained"]
    part: _Part = "whole"

    @property
    def exact(self) -> bool:
        """Whether the words are the same, letter case, punctuation and white space aside."""
        return self.kind == "exact"


class LeakChecker:
    """Looks training records up in an evaluation set.

    Compared are the question (all that the patient says), the answer (all that the doctor says) and the whole,
    each with its like; and the question with the whole training text, which may be longer. A question or
    answer of fewer than 8 shingles (about ten words: "Hello doctor") proves nothing by itself: a record of
    such words counts only where the whole is the same.

    The memory depends on the evaluation set alone, about 3 kB a record of 130 words. Records are compared as they
    are: those that were cleaned hide from those that were not (`find_leaks` sees to that).

    Args:
        evaluation: dialogues, or pairs of an id and a text. A record without an id is called by its number,
            from 1.
        threshold: similarity from which a record is a leak, above 0, at most 1. A question of 45 words with one
            of them replaced is found at 0.8; with three, about half the time, and at 0.6 nearly always.

    Raises:
        ConfigError: for a threshold out of range.
        DataFormatError: when there is no evaluation record, or one is neither a dialogue nor a pair.
        MissingExtraError: without numpy (extra `corpus`).
    """

    def __init__(self, evaluation: Iterable[Dialogue | tuple[str, str]], threshold: float = 0.8) -> None:
        if not isinstance(evaluation, Iterable) or isinstance(evaluation, (str, bytes)):
            raise not_a_record(evaluation)
        if not 0 < threshold <= 1:
            raise ConfigError(
                f"Expected a similarity above 0 and at most 1 as threshold, found {threshold}; try 0.8."
            )
        self.threshold = float(threshold)
        self._ids: list[str] = []
        self._exact: dict[bytes, list[int]] = {}
        self._pieces: list[tuple[int, _Part]] = []  # the record and the part of it
        self._checked = 0
        sets = list(self._read(evaluation))
        if not self._ids:
            raise DataFormatError(
                "Expected evaluation records to look for, found none; name the set that is to be kept apart."
            )
        self._index(sets)

    def __len__(self) -> int:
        """The number of evaluation records."""
        return len(self._ids)

    @property
    def too_short(self) -> int:
        """Evaluation records whose question is too short to be looked for by itself."""
        return len(self._ids) - self._checked

    def check(self, dialogue: Dialogue | tuple[str, str]) -> list[Leak]:
        """The evaluation records that a training record holds, the most alike first, each once.

        Raises:
            DataFormatError: when it is neither a dialogue nor a pair of an id and a text.
        """
        name, parts = _shingled(dialogue)
        best: dict[int, Leak] = {}
        for leak, record in (*self._exact_leaks(name, parts), *self._near_leaks(name, parts)):
            known = best.get(record)
            if known is None or weight_of(leak) > weight_of(known):
                best[record] = leak
        return [best[record] for record in sorted(best, key=lambda key: (-best[key].similarity, key))]

    def _read(self, evaluation: Iterable[Dialogue | tuple[str, str]]) -> Iterator[NDArray[np.uint64]]:
        """The shingles of each part that is long enough, noted in `_pieces`."""
        np = _numpy()
        for record, item in enumerate(evaluation):
            name, parts = _shingled(item)
            self._ids.append(name or str(record + 1))
            for part, values in parts.items():
                distinct = np.unique(values)
                is_telling = len(distinct) >= _FEWEST
                if is_telling or (part == "whole" and len(values)):
                    self._exact.setdefault(_exact_key(part, values), []).append(record)
                if is_telling:
                    self._checked += part == "question"
                    self._pieces.append((record, part))
                    yield distinct

    def _index(self, sets: list[NDArray[np.uint64]]) -> None:
        np = _numpy()
        self._bounds = np.cumsum([0, *map(len, sets)])
        self._values = np.concatenate([np.empty(0, np.uint64), *sets])
        known, counts = np.unique(self._values, return_counts=True)
        keys, owners = [np.empty(0, np.uint64)], [np.empty(0, np.int64)]
        for number, values in enumerate(sets):
            size = len(values) - math.ceil(self.threshold * len(values) - 1e-9) + 1
            rarest = np.argsort(counts[np.searchsorted(known, values)], kind="stable")[:size]
            keys.append(values[rarest])
            owners.append(np.full(len(rarest), number))
        flat = np.concatenate(keys)
        order = np.argsort(flat, kind="stable")
        self._keys, self._owners = flat[order], np.concatenate(owners)[order]

    def _exact_leaks(self, name: str, parts: _Parts) -> Iterator[tuple[Leak, int]]:
        for part, values in parts.items():
            for record in self._exact.get(_exact_key(part, values), ()):
                yield Leak(name, self._ids[record], 1.0, "exact", part), record

    def _near_leaks(self, name: str, parts: _Parts) -> Iterator[tuple[Leak, int]]:
        numbers = self._candidates(parts)
        sets = {part: _numpy().unique(values) for part, values in parts.items()} if numbers else {}
        for number in numbers:
            record, part = self._pieces[number]
            wanted = self._values[self._bounds[number] : self._bounds[number + 1]]
            if part in sets:
                common = _common(wanted, sets[part])
                similarity = common / (len(wanted) + len(sets[part]) - common)
                if similarity >= self.threshold:
                    yield Leak(name, self._ids[record], similarity, "near", part), record
            if part == "question":
                share = _common(wanted, sets["whole"]) / len(wanted)
                if share >= self.threshold:
                    yield Leak(name, self._ids[record], share, "contained", part), record

    def _candidates(self, parts: _Parts) -> list[int]:
        """The pieces that have one of their rarest shingles in common with the record."""
        np = _numpy()
        if not len(self._keys):
            return []
        values = np.concatenate(list(parts.values()))
        places = np.searchsorted(self._keys, values)
        places[places == len(self._keys)] = 0
        hits = values[self._keys[places] == values]
        if not len(hits):
            return []
        hits = np.unique(hits)
        starts, ends = (np.searchsorted(self._keys, hits, side) for side in ("left", "right"))
        owners = [self._owners[start:end] for start, end in zip(starts, ends, strict=True)]
        found: list[int] = np.unique(np.concatenate(owners)).tolist()
        return found


def _shingled(record: Dialogue | tuple[str, str]) -> tuple[str, _Parts]:
    """The id, and the shingles of the texts by which a record is compared."""
    texts: dict[_Part, str]
    if isinstance(record, Dialogue):
        name, whole = record.id, spoken_text(record)
        question = "\n".join(turn.content for turn in record.patient_turns)
        answer = "\n".join(turn.content for turn in record.doctor_turns)
        texts = {"question": question, "answer": answer, "whole": whole}
    elif isinstance(record, tuple) and len(record) == 2 and all(isinstance(item, str) for item in record):
        name, whole = record
        texts = {"question": whole, "whole": whole}
    else:
        raise not_a_record(record)
    return name, dict(zip(texts, shingles(texts.values()), strict=True))


def _exact_key(part: _Part, values: NDArray[np.uint64]) -> bytes:
    """Equal words, and no others, have equal shingles in equal order."""
    return hashlib.blake2b(values.tobytes(), digest_size=16, person=part.encode()).digest()


def not_a_record(record: object) -> DataFormatError:
    """The error about what is neither a dialogue nor a pair of an id and a text."""
    return DataFormatError(
        f"Expected dialogues, or pairs of an id and a text, found {type(record).__name__}; make dialogues of them "
        "first."
    )


def weight_of(leak: Leak) -> tuple[int, float]:
    """By which the more convincing of two findings of one pair is told."""
    return _KINDS.index(leak.kind), leak.similarity


def _common(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> int:
    return len(_numpy().intersect1d(one, other, assume_unique=True))


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtraError("numpy", "corpus") from None
    return numpy
