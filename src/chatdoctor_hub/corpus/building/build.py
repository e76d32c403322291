"""`build_corpus`: sources -> cleaned, compared and divided dialogues -> a corpus folder of any size.

Three stages, each of which leaves files for the next in a hidden folder beside the corpus, so that a build
that was stopped or killed goes on where it was: parts (records read and cleaned, some thousand at a time),
the decision (which of them stay, and where, from digests alone), and shards.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.building.config import CorpusConfig, check_config
from chatdoctor_hub.corpus.building.decision import Decision, decide
from chatdoctor_hub.corpus.building.layout import Layout
from chatdoctor_hub.corpus.building.parts import PART_SIZE, Part, PartMaker, write_arrow
from chatdoctor_hub.corpus.building.plan import CorpusPlan, PlannedSource, plan_corpus
from chatdoctor_hub.corpus.building.processes import in_processes, worker_count
from chatdoctor_hub.corpus.building.steps import CleaningRules, clean_record
from chatdoctor_hub.corpus.building.workplace import begun_workplace, workplace
from chatdoctor_hub.corpus.cleaning import Deidentifier, Sketcher, normalize_text
from chatdoctor_hub.corpus.folder import Corpus, complete, replacing_corpus
from chatdoctor_hub.corpus.shards import parquet, table_of
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError

__all__ = ["BuildProgress", "begin_build", "build_corpus", "make_parts"]

_EVALUATION = "evaluation.arrow"


@dataclass(frozen=True)
class BuildProgress:
    """How far a step of a build is.

    Args:
        step: "reading and cleaning", "comparing", "sorting" or "writing".
        done: records or dialogues that are done.
        total: of how many, or None where nobody knows.
    """

    step: str
    done: int
    total: int | None = None


_Tell = Callable[[BuildProgress], None]


def build_corpus(config: CorpusConfig, *, on_progress: _Tell | None = None) -> Corpus:
    """Make a corpus folder from its settings, whole or not at all.

    The same settings and inputs give the same bytes, in one process or in many. A build that was ended in
    whatever way goes on where it was when it is called again with the same settings; what it needs for that
    lies in `.NAME.build` beside `out` (patients' words, readable by their owner alone) until a build succeeds.
    Memory does not grow with the words, only by about 250 bytes a dialogue while they are compared; the hidden
    folder takes about twice the room of the words.

    Args:
        config: what goes in, what is done with it, and where it goes.
        on_progress: called now and then.

    Raises:
        DataNotFoundError, DataFormatError: when a source cannot be read, when too few dialogues are left, or
            when `out` is something else than a corpus; with `strict`, for the first unusable record.
        LeakError: when dialogues repeat evaluation records and `on_leak` is "stop"; it names them.
        DiskSpaceError: when the disk is full.
        MissingExtraError: without the extra `corpus`, or `deidentify` where that is asked for.
    """
    tell = on_progress or (lambda progress: None)
    plan = _checked(config)
    with workplace(config.out, plan.keys) as stages, replacing_corpus(config.out) as new:
        evaluated = _evaluate(plan, stages["parts"])
        parts, repairs = _make_all(plan, _maker(plan, stages["parts"]), tell)
        tell(BuildProgress("comparing", 0))
        decision = Decision.open(stages["decision"]) or decide(parts, config, stages["decision"])
        layout = Layout.of(stages["shards"], decision.told["dialogues"], config.shard_size)
        _write(layout, parts, decision, config, tell)
        layout.hand_over(new)
        info = _info(plan, decision, repairs, evaluated)
        complete(new, info, decision.rejected)
    return Corpus.open(config.out, verify=False)


def begin_build(config: CorpusConfig) -> None:
    """Make a build ready for `make_parts`, in this process or on other machines; `build_corpus` ends it.

    What was made by an earlier one with the same settings and inputs is kept.

    Args:
        config: as for `build_corpus`.

    Raises:
        ChatDoctorError: as `build_corpus`, for settings and sources that cannot be used.
    """
    plan = _checked(config)
    for source in plan.sources:
        next(source.stream(config.strict), None)
    with workplace(config.out, plan.keys, keep=True) as stages:
        _evaluate(plan, stages["parts"])


def make_parts(config: CorpusConfig, rank: int = 0, workers: int = 1) -> Iterator[Part]:
    """Make the parts `rank`, `rank + workers`, … of a build that was begun, where they are not there yet.

    Any number of processes may do so at a time, each with a rank of its own.

    Args:
        config: as for `begin_build`.
        rank: of this process, from 0.
        workers: processes in all.

    Yields:
        Each part as it is made.

    Raises:
        DataFormatError: when the build was not begun, or the sources here are not those it began with.
    """
    plan = plan_corpus(config)
    maker = _maker(plan, begun_workplace(config.out, plan.keys)["parts"])
    number = 0
    for source in plan.sources:
        for batch in _batches(source.stream(config.strict)):
            if number % workers == rank and not maker.part(number).folder.is_dir():
                yield maker.make(number, source.name, batch)
            number += 1


def _batches(records: Iterable[Any]) -> Iterator[list[Any]]:
    """The records of a source, as many at a time as a part has."""
    left = iter(records)
    while batch := list(itertools.islice(left, PART_SIZE)):
        yield batch


def _checked(config: CorpusConfig) -> CorpusPlan:
    """The plan, made once it is clear that what is needed is installed: no worker should be the first to miss it."""
    check_config(config)
    parquet()
    normalize_text("é")
    if config.near_duplicates is not None:
        Sketcher()
    if config.deidentify:
        Deidentifier()
    return plan_corpus(config)


def _maker(plan: CorpusPlan, folder: Path) -> PartMaker:
    """What makes the parts of a build in a folder that `_evaluate` has been at."""
    config = plan.config
    sketched = config.near_duplicates is not None
    evaluation = folder / _EVALUATION if plan.evaluation else None
    return PartMaker(folder, config.rules, config.seed, sketched, evaluation, config.leak_threshold)


def _evaluate(plan: CorpusPlan, folder: Path) -> int:
    """Write all evaluation dialogues to a file, cleaned as the others are; returns their number."""
    if not plan.evaluation:
        return 0
    count = folder / "evaluation.json"
    if not count.is_file():
        rules = CleaningRules(min_words=0, max_words=None, deidentify=plan.config.deidentify)
        cleaned = []
        for source in plan.evaluation:
            for record in source.stream():
                clean = clean_record(record, rules) if isinstance(record, Dialogue) else None
                if isinstance(clean, Dialogue):
                    cleaned.append(replace(clean, id=f"{source.name} {clean.id}"))
        if not cleaned:
            raise DataFormatError(
                "Expected evaluation records in leak_check, found none that can be used; name other files."
            )
        write_arrow(table_of(cleaned), folder / _EVALUATION)
        count.write_text(json.dumps(len(cleaned)), "utf-8")
    return int(count.read_text("utf-8"))


def _make_all(plan: CorpusPlan, maker: PartMaker, tell: _Tell) -> tuple[list[Part], Counter[str]]:
    """Every part, made now or by a build that was interrupted, and the repairs of reading."""
    reader = _Reader(plan, maker)
    done = 0
    for part in in_processes(worker_count(plan.config.workers), maker.make, reader.tasks()):
        done += part.counts["read"]
        tell(BuildProgress("reading and cleaning", reader.found + done))
    if not reader.parts:
        raise DataFormatError("Expected records in the sources of the corpus, found none; name other files.")
    return reader.parts, reader.repairs


class _Reader:
    """Reads the sources in turn and cuts them into parts, leaving out what was made before.

    Args:
        plan: names the sources.
        maker: makes the parts.
    """

    def __init__(self, plan: CorpusPlan, maker: PartMaker) -> None:
        self._plan = plan
        self._maker = maker
        self.parts: list[Part] = []
        self.repairs: Counter[str] = Counter()
        self.found = 0

    def tasks(self) -> Iterator[tuple[int, str, list[Any]]]:
        """The arguments of `PartMaker.make` for each part that is still to be made."""
        for number, source in enumerate(self._plan.sources):
            note = self._maker.folder / f"source-{number}.json"
            if not self._recall(note):
                yield from self._read(source, note)

    def _recall(self, note: Path) -> bool:
        """Whether a source was read to its end before and all parts of it are there."""
        if not note.is_file():
            return False
        told = json.loads(note.read_text("utf-8"))
        parts = [self._maker.part(number) for number in range(len(self.parts), told["parts"])]
        if not all(part.folder.is_dir() for part in parts):
            return False
        self.parts += parts
        self.repairs.update(told["repairs"])
        self.found += sum(part.counts["read"] for part in parts)
        return True

    def _read(self, source: PlannedSource, note: Path) -> Iterator[tuple[int, str, list[Any]]]:
        stream = source.stream(self._plan.config.strict)
        for batch in _batches(stream):
            part = self._maker.part(len(self.parts))
            self.parts.append(part)
            if part.folder.is_dir():
                self.found += part.counts["read"]
            else:
                yield len(self.parts) - 1, source.name, batch
        self.repairs.update(stream.repairs)
        told = {"parts": len(self.parts), "repairs": dict(sorted(stream.repairs.items()))}
        note.write_text(json.dumps(told), "utf-8")


def _write(layout: Layout, parts: list[Part], decision: Decision, config: CorpusConfig, tell: _Tell) -> None:
    total, done = sum(decision.told["dialogues"].values()), 0
    for dealt in layout.deal(parts, decision.places):
        done += dealt
        tell(BuildProgress("sorting", done, total))
    done = 0
    bins = ((number,) for number in range(len(layout.bins)))
    for written in in_processes(min(worker_count(config.workers), len(layout.bins)), layout.write, bins):
        done += written
        tell(BuildProgress("writing", done, total))


def _info(plan: CorpusPlan, decision: Decision, repairs: Counter[str], evaluated: int) -> dict[str, Any]:
    """The record of the corpus: nothing in it depends on when, where or by how many processes it was made."""
    config, told = plan.config, decision.told
    nothing = {"read": 0, "kept": 0}
    leak_check = {
        "sources": [source.name for source in plan.evaluation],
        "dialogues": evaluated,
        "threshold": config.leak_threshold,
        "on_leak": config.on_leak,
        "found": told["leaks"],
    }
    return {
        "digest": told["digest"],
        "licence": config.licence,
        "languages": list(config.languages),
        "seed": config.seed,
        **{name: told[name] for name in ("dialogues", "turns", "counts")},
        "repairs": dict(sorted(repairs.items())),
        "changes": told["changes"],
        "sources": [
            {"name": source.name, **source.provenance, "fingerprint": source.fingerprint}
            | told["sources"].get(source.name, nothing)
            for source in plan.sources
        ],
        "leak_check": leak_check if plan.evaluation else None,
        "config": config.to_record(),
        "extra": {},
    }
