"""`Intake`: the dialogues of all sources, each once, with the split that it belongs to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from chatdoctor_hub.corpus import RecordProblem
from chatdoctor_hub.corpus.splits import opening_words, rank_of
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.training.data.mixing import SafetyMix
from chatdoctor_hub.training.data.purity import Purity
from chatdoctor_hub.training.data.report import Tallies
from chatdoctor_hub.training.data.sources import Read, Source, open_source
from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["Intake", "Item", "Split"]

Split = Literal["training", "validation"]

_REMEMBERED = 1_000_000  # dialogues among which duplicates are noticed, so that memory stays bounded
_ALL = 1 << 64


class Item(NamedTuple):
    """A dialogue that is used.

    Args:
        dialogue: its words.
        split: what it is used for.
        copies: how often.
        source: the number of its source in `Intake.sources`.
        number: of its record there, from 1.
        record: the record's name, for messages.
        digest: of the dialogue.
    """

    dialogue: Dialogue
    split: Split
    copies: int
    source: int
    number: int
    record: str
    digest: str


class Intake:
    """Reads the sources of a recipe.

    What validates: the recipe's `validation`, else the validation splits of the corpus folders among its
    data, else the share `validation_share` of all dialogues, drawn by a salted hash of the patient's first
    words. So the order does not matter, nothing is held back, and the same patient's words never stand in
    both: of dialogues that open as one that validates does, those of other sources are left out.

    Args:
        config: the recipe.

    Raises:
        DataNotFoundError, DataFormatError: when a source cannot be opened.
    """

    def __init__(self, config: RecipeConfig) -> None:
        self._config = config
        self._data = [open_source(source) for source in config.data]
        self._own: list[Source] = [source for source in self._data if source.validates]
        if config.validation:
            self._own = [open_source(config.validation)]
        self._mix = SafetyMix(config.safety_mix, config.seed) if config.safety_mix else None
        read = [*self._data, *(source for source in self._own if source not in self._data)]
        self._read = read
        self.sources = tuple(source.name for source in read) + ((self._mix.name,) if self._mix else ())
        self._share = 0.0 if self._own else config.training.validation_share
        self._threshold = int(self._share * _ALL)
        self._lowest = _ALL
        self._several = False

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) of what is read and of all that decides what it is used for."""
        config = self._config
        told = [
            *(source.fingerprint for source in self._data),
            "validation",
            *(source.fingerprint for source in self._own),
            *(self.sources),
            str(self._share),
            str(config.seed),
            config.safety_mix.model_dump_json() if config.safety_mix else "",
            self._mix.fingerprint if self._mix else "",
        ]
        return hashlib.sha256("\n".join(told).encode()).hexdigest()

    def narrowed(self, training: int, validation: int) -> bool:
        """Whether to read again, the share being too small, or too large, for so few dialogues.

        The next time those dialogues validate whose opening words have the lowest hash.

        Args:
            training: dialogues that the last reading gave to tune on.
            validation: and to validate with.
        """
        enough = bool(training and validation)
        if enough or not self._share or not self._several or self._threshold == self._lowest + 1:
            return False
        self._threshold = self._lowest + 1
        return True

    def items(self, tallies: Tallies, purity: Purity) -> Iterator[Item]:
        """Everything that is used, in the order of the sources, what validates first where it is known.

        Args:
            tallies: counts what is read and left out.
            purity: judges each.

        Raises:
            DataFormatError: when nothing of a source can be used.
        """
        seen: set[int] = set()
        held: set[int] = set()
        if self._config.safety_mix:
            self._mix = SafetyMix(self._config.safety_mix, self._config.seed)
        for source in self._own:
            for item in self._unique(source, source.validation(), seen, tallies, purity):
                held.add(self._opening(item.dialogue))
                yield item._replace(split="validation", copies=1)
        for source in self._data:
            for item in self._unique(source, source.training(), seen, tallies, purity):
                opening = self._opening(item.dialogue)
                self._several |= self._lowest not in (_ALL, opening)
                self._lowest = min(self._lowest, opening)
                if opening in held:
                    tallies.skip("its first words are validated with", item.record, item.copies)
                elif opening < self._threshold:
                    yield item._replace(split="validation", copies=1)
                else:
                    yield from self._with_safety(item, held, tallies, purity)

    def _with_safety(self, item: Item, held: set[int], tallies: Tallies, purity: Purity) -> Iterator[Item]:
        yield item
        if self._mix is None:
            return

        def usable(dialogue: Dialogue) -> bool:
            opening = self._opening(dialogue)
            return opening not in held and opening >= self._threshold

        for _ in range(item.copies):
            for read in self._mix.after(item.dialogue, usable):
                assert isinstance(read.item, Dialogue)
                tallies.mixed += 1
                # In the data's form its system words are the data's, which were judged where they stand.
                if not (self._config.safety_mix and self._config.safety_mix.match_format):
                    purity.dialogue(read.item, self._mix.name, read.name)
                yield Item(
                    read.item, "training", 1, len(self._read), read.number, read.name, read.item.digest
                )

    def _unique(
        self, source: Source, reads: Iterator[Read], seen: set[int], tallies: Tallies, purity: Purity
    ) -> Iterator[Item]:
        """The dialogues of a source that were not read before, judged."""
        at = self._read.index(source)
        for read in reads:
            tallies.read += 1
            where = read.name if len(self._read) == 1 else f"{read.name} of {source.name}"
            if isinstance(read.item, RecordProblem):
                tallies.problem(read.item.reason, where)
                continue
            if not read.copies:
                tallies.skip("left out by the weight of its source", where)
                continue
            digest = read.item.digest
            mark = int(digest[:16], 16)
            if mark in seen:
                tallies.skip("exact duplicate", where)
                continue
            if len(seen) < _REMEMBERED:
                seen.add(mark)
            purity.dialogue(read.item, source.name, read.name)
            yield Item(read.item, "training", read.copies, at, read.number, where, digest)

    def _opening(self, dialogue: Dialogue) -> int:
        """A salted hash of the patient's first words; below the threshold they validate."""
        return int.from_bytes(rank_of(opening_words(dialogue), self._config.seed)[:8], "big")
