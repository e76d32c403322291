"""`SafetyMix`: refusals among the data, in the data's own form."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from chatdoctor_hub.corpus import SourceConfig, safety_dialogues
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.training.data.sources import Read, Source, open_source
from chatdoctor_hub.training.recipe import SafetyMixConfig

__all__ = ["SafetyMix"]

_AT_ONCE = 256
_TRIES = 100_000
_WAITING = 64  # dialogues among which one of the right length is looked for


class SafetyMix:
    """Gives safety dialogues as training dialogues go by: `ratio` for each, evenly among them.

    Refusals mixed into benign data keep much of a model's alignment, best in the task's own form (arXiv
    2406.10288, section 4: each gets the system words of the dialogue before it, and one of as many exchanges
    is taken where there is one); about 3 % do, and more make it refuse what is harmless (arXiv 2309.07875).
    All of them are rendered by the same prompt pair as the data.

    Args:
        config: how many, which, and whether in the data's form.
        seed: of the shipped ones.

    Raises:
        DataNotFoundError, DataFormatError: when `config.data` cannot be read.
    """

    def __init__(self, config: SafetyMixConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._source: Source | None = None
        if config.data:
            self._source = open_source(SourceConfig(path=str(Path(config.data).expanduser())))
        self.name = self._source.name if self._source else "shipped safety dialogues"
        self.fingerprint = self._source.fingerprint if self._source else "shipped"
        self._waiting: deque[Read] = deque()
        self._reads = self._endless()
        self._passed = 0
        self._given = 0

    def after(self, dialogue: Dialogue, usable: Callable[[Dialogue], bool]) -> list[Read]:
        """What follows a training dialogue; mostly nothing.

        Args:
            dialogue: the one that was just given.
            usable: whether a safety dialogue may be trained on; others are passed over.
        """
        self._passed += 1
        due = []
        while self._given < int(self._passed * self._config.ratio + 0.5):
            due.append(self._next(dialogue, usable))
            self._given += 1
        return due

    def _next(self, dialogue: Dialogue, usable: Callable[[Dialogue], bool]) -> Read:
        passed_over = 0
        while len(self._waiting) < _WAITING:
            read = next(self._reads)
            if isinstance(read.item, Dialogue) and usable(read.item):
                self._waiting.append(read)
                passed_over = 0
            elif (passed_over := passed_over + 1) > _TRIES:
                raise DataFormatError(
                    f"Expected safety dialogues in {self.name} that can be trained on, found that all of them "
                    "open as dialogues to validate with; name other ones in safety_mix.data."
                )
        at = self._best(len(dialogue.doctor_turns)) if self._config.match_format else 0
        read = self._waiting[at]
        del self._waiting[at]
        assert isinstance(read.item, Dialogue)
        if not self._config.match_format:
            return read
        system = tuple(turn for turn in dialogue.turns[:1] if turn.role == "system")
        own = tuple(turn for turn in read.item.turns if turn.role != "system")
        return read._replace(item=replace(read.item, turns=system + own))

    def _best(self, exchanges: int) -> int:
        """The first that waits with as many exchanges; else the one whose number is nearest."""

        def apart(at: int) -> int:
            item = self._waiting[at].item
            return abs(len(item.doctor_turns) - exchanges) if isinstance(item, Dialogue) else exchanges

        return min(range(len(self._waiting)), key=lambda at: (apart(at), at))

    def _endless(self) -> Iterator[Read]:
        if self._source is None:
            block = 0
            while True:
                made = safety_dialogues(_AT_ONCE, seed=self._seed * 1000 + block)
                yield from (Read(at, str(at), item, 1) for at, item in enumerate(made, block * _AT_ONCE + 1))
                block += 1
        while True:
            usable = 0
            for read in self._source.training():
                usable += isinstance(read.item, Dialogue)
                yield read
            if not usable:
                raise DataFormatError(
                    f"Expected safety dialogues in safety_mix.data ({self.name}), found none; name another file."
                )
