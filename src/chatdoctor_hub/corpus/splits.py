"""`split`: train, validation and test dialogues with nothing shared between them, whatever their order."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, DataFormatError

__all__ = ["Splits", "split"]

_FEWEST_GROUPS = 10
_NOT_ASCII_WORD = re.compile(r"[^0-9a-z]+")
_APOSTROPHES = re.compile("['’`´ʼ]")


@dataclass(frozen=True)
class Splits:
    """Dialogues to train on, to validate with while training, and to test with in the end.

    Args:
        train: dialogues to tune on, in an order that depends on the seed and not on the input.
        validation: dialogues for the loss that is watched while tuning.
        test: dialogues that are used once, in the end.
        duplicates: exact duplicates that were left out.
        seed: what the order and the assignment were drawn with.
    """

    train: tuple[Dialogue, ...]
    validation: tuple[Dialogue, ...]
    test: tuple[Dialogue, ...]
    duplicates: int = 0
    seed: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """The number of dialogues in each split, by its name."""
        return {name: len(items) for name, items in self._named()}

    @property
    def digest(self) -> str:
        """sha256 (hex) over the roles and words of all dialogues and the split that each belongs to."""
        lines = [f"{name} {item.digest}\n" for name, items in self._named() for item in items]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def shared(self) -> tuple[Dialogue, ...]:
        """Every dialogue whose first patient words also open a dialogue of another split.

        Empty is the proof that nothing is shared: equal dialogues open with equal words.
        """
        homes: dict[str, set[str]] = {}
        for name, items in self._named():
            for item in items:
                homes.setdefault(_first_words(item), set()).add(name)
        return tuple(
            item for _, items in self._named() for item in items if len(homes[_first_words(item)]) > 1
        )

    def verify(self) -> None:
        """Make sure that there is something to train on and that nothing of it is validated or tested with.

        Raises:
            DataFormatError: when the training split is empty or `shared` is not.
        """
        if not self.train:
            raise DataFormatError("Expected dialogues in the training split, found none; add dialogues.")
        if shared := len(self.shared()):
            raise DataFormatError(
                "Expected no patient's first words in more than one split, found "
                f"{shared} dialogues that share theirs; divide all dialogues together with split()."
            )

    def _named(self) -> tuple[tuple[str, tuple[Dialogue, ...]], ...]:
        return ("train", self.train), ("validation", self.validation), ("test", self.test)


def split(
    dialogues: Iterable[Dialogue], seed: int = 0, validation: float = 0.05, test: float = 0.05
) -> Splits:
    """Divide dialogues so that the same patient's words never stand in two splits.

    Dialogues whose first patient words are the same (letter case, white space and punctuation aside) form a
    group; groups are ranked by a salted sha256, and the test and validation splits are filled in that order,
    so that their sizes are met exactly unless a group does not fit. A group larger than the room left in
    both goes to the training split.

    Args:
        dialogues: in any order; the result does not depend on it.
        seed: salt of the ranking.
        validation: the fraction of the dialogues for validation, from 0 on.
        test: the fraction for the test; both together are less than 1.

    Returns:
        The splits, each non-empty unless its fraction is 0; exact duplicates are left out and counted.

    Raises:
        ConfigError: for fractions that cannot be met.
        DataFormatError: when there is no dialogue, or too few different ones to divide.
    """
    _check_fractions(validation, test)
    given = list(dialogues)
    groups = _ranked_groups(given, seed)
    total = sum(len(group) for group in groups)
    fewest = _FEWEST_GROUPS if validation or test else 1
    if len(groups) < fewest:
        raise DataFormatError(
            f"Expected at least {fewest} dialogues that open with different patient's words, to divide them "
            f"into train, validation and test, found {len(groups)} in {len(given)} dialogues; add dialogues."
        )
    wanted = {"test": _size(total, test), "validation": _size(total, validation)}
    # Rounding up two large fractions must not use up what the training split needs.
    if (excess := sum(wanted.values()) - (total - 1)) > 0:
        wanted[max(wanted, key=lambda name: wanted[name])] -= excess
    homes = _fill(groups, wanted)
    flat = {name: tuple(item for group in home for item in group) for name, home in homes.items()}
    return Splits(**flat, duplicates=len(given) - total, seed=seed)


def _check_fractions(validation: float, test: float) -> None:
    if not all(math.isfinite(part) and part >= 0 for part in (validation, test)) or validation + test >= 1:
        raise ConfigError(
            "Expected the fractions validation and test to be 0 or more and together less than 1, found "
            f"{validation} and {test}; try 0.05 each."
        )


def _size(total: int, fraction: float) -> int:
    return max(1, round(total * fraction)) if fraction else 0


def _ranked_groups(dialogues: list[Dialogue], seed: int) -> list[list[Dialogue]]:
    """Dialogues without exact duplicates, grouped by their first words, in the order of a salted hash."""
    unique: dict[str, Dialogue] = {}
    for dialogue in dialogues:
        digest = dialogue.digest
        known = unique.get(digest)
        # Of equal dialogues one is kept by name, not by position: the input's order must not matter.
        if known is None or _name(dialogue) < _name(known):
            unique[digest] = dialogue
    groups: dict[str, list[tuple[str, Dialogue]]] = {}
    for digest, dialogue in unique.items():
        groups.setdefault(_first_words(dialogue), []).append((digest, dialogue))
    ranked = sorted(groups, key=lambda words: _rank(words, seed))
    return [[item for _, item in sorted(groups[words], key=lambda pair: pair[0])] for words in ranked]


def _name(dialogue: Dialogue) -> tuple[str, str, str]:
    return dialogue.source, dialogue.id, dialogue.topic


def _rank(words: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{words}".encode("utf-8", "surrogatepass")).hexdigest()


def _fill(groups: list[list[Dialogue]], wanted: dict[str, int]) -> dict[str, list[list[Dialogue]]]:
    homes: dict[str, list[list[Dialogue]]] = {"train": [], "validation": [], "test": []}
    room = dict(wanted)
    for group in groups:
        name = next((name for name in ("test", "validation") if len(group) <= room[name]), "train")
        homes[name].append(group)
        if name != "train":
            room[name] -= len(group)
    for name, size in wanted.items():
        if size and not homes[name]:
            # Every group was larger than this split: it gets the smallest of the split with the most groups.
            giver = max(homes.values(), key=len)
            smallest = min(range(len(giver)), key=lambda index: len(giver[index]))
            homes[name].append(giver.pop(smallest))
    return homes


def _first_words(dialogue: Dialogue) -> str:
    """The first patient words without letter case, white space and punctuation; the key of a group."""
    patient = dialogue.patient_turns
    words = (patient[0] if patient else dialogue.turns[0]).content
    folded = unicodedata.normalize("NFKC", words.casefold()).casefold()
    folded = _APOSTROPHES.sub("", folded)
    if folded.isascii():
        key = _NOT_ASCII_WORD.sub(" ", folded).strip()
    else:
        # Letters, marks (vowel signs of Indic scripts among them) and numbers carry the words.
        kept = "".join(sign if unicodedata.category(sign)[0] in "LMN" else " " for sign in folded)
        key = " ".join(kept.split())
    return key or words
