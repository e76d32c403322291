"""`plan_corpus`: what a build will read and do, said before anything is done."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.building.config import CorpusConfig, check_config
from chatdoctor_hub.corpus.building.parts import PART_SIZE
from chatdoctor_hub.corpus.reading import DialogueStream, SourceConfig, stream_dialogues
from chatdoctor_hub.corpus.reading.splits_by_name import ALL
from chatdoctor_hub.errors import ConfigError

__all__ = ["CorpusPlan", "PlannedSource", "plan_corpus"]


@dataclass(frozen=True)
class PlannedSource:
    """One source, found but not yet read.

    Args:
        name: unique within the corpus.
        config: the settings it was asked for with.
        size: bytes on this machine, or None.
        provenance: "url", "licence", "citation" and "notes".
        fingerprint: sha256 of what will be read.
    """

    name: str
    config: SourceConfig
    size: int | None
    provenance: Mapping[str, str]
    fingerprint: str

    def stream(self, strict: bool = False) -> DialogueStream:
        """The source's records, from the first on."""
        return stream_dialogues(self.config, strict=strict)


@dataclass(frozen=True)
class CorpusPlan:
    """What `build_corpus` is about to do.

    Args:
        config: the settings.
        sources: what is read, in order.
        evaluation: what it is compared with.
    """

    config: CorpusConfig
    sources: tuple[PlannedSource, ...]
    evaluation: tuple[PlannedSource, ...]

    @property
    def steps(self) -> tuple[str, ...]:
        """Each step in a few words, in order."""
        config = self.config
        longest = f" or more than {config.max_words:,}" if config.max_words else ""
        return tuple(
            step
            for step in (
                "read the sources, and split or cut turns that leaked into answers",
                "normalise characters and white space",
                f"leave out dialogues with fewer than {config.min_words} words of a speaker{longest}",
                "replace names, numbers and addresses by placeholders" if config.deidentify else "",
                "leave out dialogues that repeat an earlier one",
                f"compare with {len(self.evaluation)} evaluation set(s) from a similarity of "
                f"{config.leak_threshold} on; a leak: {config.on_leak}"
                if self.evaluation
                else "",
                f"leave out dialogues that nearly repeat an earlier one, from {config.near_duplicates} on"
                if config.near_duplicates
                else "",
                f"divide by {config.split_by}: {config.validation:.1%} to validate, {config.test:.1%} to test",
                f"write {config.out}",
            )
            if step
        )

    @property
    def keys(self) -> dict[str, str]:
        """For each stage of the build a digest of all that its result depends on."""
        config = self.config
        read = [
            [one.name, one.fingerprint, one.config.model_dump(mode="json")]
            for one in (*self.sources, *self.evaluation)
        ]
        sketched = config.near_duplicates is not None
        rules = [config.rules.__dict__, config.seed, sketched, config.leak_threshold, len(self.sources)]
        divided = [config.near_duplicates, config.on_leak, config.validation, config.test, config.split_by]
        clean = _digest([_versions(), PART_SIZE, read, rules])
        decided = _digest([clean, divided])
        return {"parts": clean, "decision": decided, "shards": _digest([decided, config.shard_size])}


def plan_corpus(config: CorpusConfig) -> CorpusPlan:
    """Find every source of a corpus, without reading it.

    Evaluation sets that name no split are compared whole: nothing of them may be trained on.

    Raises:
        DataNotFoundError, DataFormatError: when a source cannot be found or read.
        ConfigError: when the corpus would take the place of one of its sources, or stand among them.
    """
    check_config(config)
    if not Path(os.path.realpath(config.out)).name:
        raise ConfigError(f"Expected a folder's name in out, found {config.out!r}; choose a folder to write.")
    for source in config.sources:
        _keep_apart(_place(source), config.out)
    whole = [one.model_copy(update={"split": one.split or ALL}) for one in config.leak_check]
    return CorpusPlan(config, tuple(_planned(config.sources)), tuple(_planned(whole)))


def _keep_apart(source: str, out: str) -> None:
    """A build that reads what it writes would not be the same twice, and would lose what it replaces."""
    if not os.path.exists(source):  # noqa: PTH110 - never raises, whatever the path
        return
    read, written = Path(os.path.realpath(source)), Path(os.path.realpath(out))
    if read == written or written in read.parents or (read.is_dir() and read in written.parents):
        raise ConfigError(
            f"Expected a corpus apart from its sources, found the source {source} and the corpus {out} one inside "
            "the other; choose another place with out."
        )


def _place(source: SourceConfig) -> str:
    return os.path.expanduser(source.path)  # noqa: PTH111 - Path's raises where there is no such home


def _planned(sources: Sequence[SourceConfig]) -> Iterator[PlannedSource]:
    taken: set[str] = set()
    for source in sources:
        stream = stream_dialogues(source)
        told = stream.provenance
        number, name = 2, told.name
        while name in taken:
            number, name = number + 1, f"{told.name} ({number})"
        taken.add(name)
        provenance = {field: getattr(told, field) or "" for field in ("url", "licence", "citation")}
        provenance["notes"] = " ".join(told.notes)
        yield PlannedSource(name, source, _size(Path(_place(source))), provenance, stream.fingerprint)


def _size(path: Path) -> int | None:
    try:
        if path.is_dir():
            return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        return path.stat().st_size
    except (OSError, ValueError):
        return None


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _versions() -> list[str]:
    """Of what decides which bytes come out."""
    from chatdoctor_hub import __version__

    packages = ("pyarrow", "numpy", "ftfy", "datasketch", "presidio-analyzer")
    return [__version__, *map(_version_of, packages)]


def _version_of(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
