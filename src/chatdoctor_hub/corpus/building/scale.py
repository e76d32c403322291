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

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from chatdoctor_hub.corpus.building.build import begin_build, build_corpus, make_parts
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.errors import ChatDoctorError, DataError, MissingExtraError

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

    Begun it is by `begin_build`, so that faulty settings and unreadable sources are errors here and not in a
    task. When it is called again after an interruption, what was made is kept.

    Args:
        config: as for `build_corpus`; `workers` counts in the last task only.

    Raises:
        MissingExtraError: without datatrove (extra `scale`).
        ChatDoctorError: as `build_corpus`.
    """
    steps = CorpusPipelines([PartsStep(config)], [WholeStep(config)])
    begin_build(config)
    return steps


class _Step(ABC):
    """A step of a datatrove pipeline, which may be any callable that has statistics."""

    _does = ""

    def __init__(self, config: CorpusConfig) -> None:
        self.config = config
        self.stats = _stats(repr(self))

    def __repr__(self) -> str:
        return f"corpus: {self._does}"

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> None:
        """Do what falls to task `rank` of `world_size`.

        Raises:
            ChatDoctorError: as `make_parts` and `build_corpus`, with no frames and so without patients' words.
        """
        with self.stats.time_stats:
            _told_without_words(lambda: self._work(rank, world_size))

    @abstractmethod
    def _work(self, rank: int, world_size: int) -> None:
        """The task's share."""


class PartsStep(_Step):
    """Makes the parts that fall to a task; a step of a datatrove pipeline.

    Args:
        config: of the corpus.

    Raises:
        MissingExtraError: without datatrove (extra `scale`).
    """

    _does = "clean parts"

    def _work(self, rank: int, world_size: int) -> None:
        for part in make_parts(self.config, rank, world_size):
            counts = part.counts
            for name in ("read", "kept"):
                self.stats[name].update(counts[name], "part")


class WholeStep(_Step):
    """Does what is left of a build, in the first task; a step of a datatrove pipeline.

    Args:
        config: of the corpus.

    Raises:
        MissingExtraError: without datatrove (extra `scale`).
    """

    _does = "compare, divide, write"

    def _work(self, rank: int, world_size: int) -> None:
        if rank == 0:
            build_corpus(self.config)


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


def _stats(name: str) -> Any:
    try:
        from datatrove.utils.stats import Stats
    except ImportError:
        raise MissingExtraError("datatrove", "scale") from None
    return Stats(name)
