"""`split`: train, validation and test dialogues with nothing shared between them, whatever their order."""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, DataFormatError

__all__ = ["SPLITS", "Splits", "divide", "opening_words", "rank_of", "split"]

SPLITS = ("train", "validation", "test")

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
                homes.setdefault(opening_words(item), set()).add(name)
        return tuple(
            item for _, items in self._named() for item in items if len(homes[opening_words(item)]) > 1
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
    homes = divide([len(group) for group in groups], validation, test, given=len(given))
    flat = {
        name: tuple(
            item for group, home in zip(groups, homes, strict=True) if home == number for item in group
        )
        for number, name in enumerate(SPLITS)
    }
    return Splits(**flat, duplicates=len(given) - sum(map(len, flat.values())), seed=seed)


def divide(sizes: Sequence[int], validation: float, test: float, *, given: int | None = None) -> bytearray:
    """Which split each group goes to: the rule of `split`, for any number of groups.

    Args:
        sizes: the number of dialogues of each group, in the order of the groups' ranks.
        validation: as of `split`.
        test: as of `split`.
        given: how many dialogues there were before duplicates were left out, for the message.

    Returns:
        For each group the number of its split in `SPLITS`.

    Raises:
        ConfigError: for fractions that cannot be met.
        DataFormatError: when there are too few groups.
    """
    _check_fractions(validation, test)
    total = sum(sizes)
    fewest = _FEWEST_GROUPS if validation or test else 1
    if len(sizes) < fewest:
        raise DataFormatError(
            f"Expected at least {fewest} dialogues that open with different patient's words, to divide them "
            f"into train, validation and test, found {len(sizes)} in {total if given is None else given} "
            "dialogues; add dialogues."
        )
    wanted = [0, _size(total, validation), _size(total, test)]
    # Rounding up two large fractions must not use up what the training split needs.
    if (excess := sum(wanted) - (total - 1)) > 0:
        wanted[2 if wanted[2] >= wanted[1] else 1] -= excess
    return _fill(sizes, wanted)


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
        groups.setdefault(opening_words(dialogue), []).append((digest, dialogue))
    ranked = sorted(groups, key=lambda words: rank_of(words, seed))
    return [[item for _, item in sorted(groups[words], key=lambda pair: pair[0])] for words in ranked]


def _name(dialogue: Dialogue) -> tuple[str, str, str]:
    return dialogue.source, dialogue.id, dialogue.topic


def rank_of(words: str, seed: int) -> bytes:
    """Where the group that opens with these words stands: a salted sha256; groups are filled in its order."""
    return hashlib.sha256(f"{seed}\n{words}".encode("utf-8", "surrogatepass")).digest()


def _fill(sizes: Sequence[int], wanted: Sequence[int]) -> bytearray:
    homes = bytearray(len(sizes))
    room = list(wanted)
    for number, size in enumerate(sizes):
        home = next((home for home in (2, 1) if size <= room[home]), 0)
        homes[number] = home
        if home:
            room[home] -= size
    for home in (2, 1):
        if wanted[home] and home not in homes:
            # Every group was larger than this split: it gets the smallest of the split with the most groups.
            giver = max((0, 1, 2), key=homes.count)
            homes[min((n for n, at in enumerate(homes) if at == giver), key=lambda n: sizes[n])] = home
    return homes


def opening_words(dialogue: Dialogue) -> str:
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
