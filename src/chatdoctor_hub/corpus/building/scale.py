"""`corpus_pipelines`: `build_corpus` on many machines, as pipelines of datatrove (extra `scale`).

    from datatrove.executor import SlurmPipelineExecutor        # or Ray's, or the local one

    clean, finish = corpus_pipelines(CorpusConfig.load("corpus.yaml"))
    cleaned = SlurmPipelineExecutor(clean, tasks=64, logging_dir="logs/clean", time="2:00:00", partition="cpu")
    SlurmPipelineExecutor(finish, tasks=1, logging_dir="logs/finish", time="2:00:00", partition="cpu",
                          mem_per_cpu_gb=8, depends=cleaned).run()

What takes the time, cleaning and de-identifying, is shared out: of w tasks, task r makes the parts r, r + w, …
of the build's hidden folder, with the functions that a build on one machine uses. The last task is that build:
it finds the parts made, compares all dialogues, and writes the same bytes. The machines need the sources and
the folder of the corpus under the same paths, and that folder's parent to be private: the hidden folder holds
patients' words. Each task reads all sources, since where a record of a JSON file begins is known only by reading
to it; reading takes a small part of the time of de-identifying.

The tests run it under the local executor; the others take the same lists.
"""

from __future__ import annotations

import itertools
import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from chatdoctor_hub.corpus.building.build import BuildProgress, build_corpus
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.building.parts import PART_SIZE, PartMaker
from chatdoctor_hub.corpus.building.plan import CorpusPlan, plan_corpus
from chatdoctor_hub.errors import ChatDoctorError, DataError, DataFormatError, MissingExtraError

__all__ = ["CorpusPipelines", "PartsStep", "WholeStep", "corpus_pipelines"]


class CorpusPipelines(NamedTuple):
    """The two pipelines of a build, for any executor of datatrove.

    Args:
        clean: for any number of tasks, in any order.
        finish: for one task, after all of those.
    """

    clean: list[Any]
    finish: list[Any]


def corpus_pipelines(config: CorpusConfig) -> CorpusPipelines:
    """Begin a build and hand out the rest of it.

    Begun it is as `build_corpus` begins, up to its first part, so that faulty settings and unreadable sources
    are errors here and not in a task. When it is called again after an interruption, what was made is kept.

    Args:
        config: as for `build_corpus`; `workers` counts in the last task only.

    Raises:
        MissingExtraError: without datatrove (extra `scale`).
        ChatDoctorError: as `build_corpus`.
    """
    steps = CorpusPipelines([PartsStep(config)], [WholeStep(config)])
    with suppress(_BegunError):
        build_corpus(config.model_copy(update={"workers": 1}), on_progress=_end)
    return steps


class _BegunError(Exception):
    """Ends a build that is to be continued elsewhere."""


def _end(progress: BuildProgress) -> None:
    raise _BegunError


class PartsStep:
    """Cleans the parts that fall to a task; a step of a datatrove pipeline, which may be any callable.

    Args:
        config: of the corpus.

    Raises:
        MissingExtraError: without datatrove (extra `scale`).
    """

    def __init__(self, config: CorpusConfig) -> None:
        self.config = config
        self.stats = _stats(repr(self))

    def __repr__(self) -> str:
        return "corpus: clean parts"

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Make the parts `rank`, `rank + world_size`, … that are not there yet.

        Raises:
            DataFormatError: when the build was not begun, or the sources here are not those it began with.
        """
        with self.stats.time_stats:
            _told_without_words(lambda: self._make(rank, world_size))

    def _make(self, rank: int, world_size: int) -> None:
        plan = plan_corpus(self.config)
        maker = _maker(plan)
        for number, source, records in _own_parts(plan, maker, rank, world_size):
            counts = maker.make(number, source, records).counts
            for name in ("read", "kept"):
                self.stats[name].update(counts[name], "part")


class WholeStep:
    """Does what is left of a build, in one task; a step of a datatrove pipeline, which may be any callable.

    Args:
        config: of the corpus.

    Raises:
        MissingExtraError: without datatrove (extra `scale`).
    """

    def __init__(self, config: CorpusConfig) -> None:
        self.config = config
        self.stats = _stats(repr(self))

    def __repr__(self) -> str:
        return "corpus: compare, divide, write"

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Build the corpus from its parts; tasks but the first have nothing to do."""
        if rank == 0:
            with self.stats.time_stats:
                _told_without_words(lambda: build_corpus(self.config))


def _told_without_words(work: Callable[[], object]) -> None:
    """Do the work; an error that leaves it has no frames.

    datatrove logs the values of the variables that stand in a traceback, and here those are patients' words.
    """
    told: Exception
    try:
        work()
        return
    except ChatDoctorError as error:
        told = error
    except Exception as error:  # noqa: BLE001 - its message and its frames may hold a patient's words
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = DataError(
            f"Expected to work to the end, found {type(error).__name__} at {Path(last.filename).name}:{last.lineno}; "
            "build with one process to see more of it."
        )
    raise told.with_traceback(None) from None


def _own_parts(
    plan: CorpusPlan, maker: PartMaker, rank: int, world_size: int
) -> Iterator[tuple[int, str, list[Any]]]:
    """Number, source and records of each part that is one's own and not there, as `build_corpus` cuts them."""
    number = 0
    for source in plan.sources:
        records = iter(source.stream(plan.config.strict))
        while batch := list(itertools.islice(records, PART_SIZE)):
            if number % world_size == rank and not maker.part(number).folder.is_dir():
                yield number, source.name, batch
            number += 1


def _maker(plan: CorpusPlan) -> PartMaker:
    """What makes the parts of a build that was begun."""
    config = plan.config
    target = Path(os.path.realpath(config.out))
    place = target.with_name(f".{target.name}.build")
    try:
        keys = json.loads((place / "keys.json").read_text("utf-8"))
    except (OSError, ValueError):
        keys = {}
    if keys.get("parts") != plan.keys["parts"]:
        raise DataFormatError(
            f"Expected the build of {config.out} to have begun with the sources that are here, found "
            f"{'others' if keys else 'none begun'}; call corpus_pipelines where all machines see the same files."
        )
    evaluation = place / "parts" / "evaluation.arrow" if plan.evaluation else None
    return PartMaker(
        place / "parts",
        config.rules,
        config.seed,
        config.near_duplicates is not None,
        evaluation,
        config.leak_threshold,
    )


def _stats(name: str) -> Any:
    try:
        from datatrove.utils.stats import Stats
    except ImportError:
        raise MissingExtraError("datatrove", "scale") from None
    return Stats(name)
