"""`Source`: the records of one place that dialogues come from, in order, each with how often it is used."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple, Protocol

from chatdoctor_hub.corpus import Corpus, RecordProblem, SourceConfig, stream_dialogues
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["Read", "Source", "open_source"]

_CORPUS = "corpus.json"
_IN_A_FILE = re.compile(r"(.+\.(?:json|jsonl|ndjson|csv|tsv|parquet)(?:\.gz|\.zst)?):(\d+)", re.IGNORECASE)


class Read(NamedTuple):
    """A record of a source.

    Args:
        number: from 1, over all files of the source.
        name: for messages: the number, with the file's name where the source has several; never its words.
        item: the dialogue, or why there is none.
        copies: how often it is used; 0 where the source's weight leaves it out.
    """

    number: int
    name: str
    item: Dialogue | RecordProblem
    copies: int


class Source(Protocol):
    """What a run can be tuned on or validated with.

    Attributes:
        name: for messages and reports.
        fingerprint: sha256 (hex) of its content and of every setting that bears on it.
        validates: whether it has dialogues of its own to validate with.
    """

    name: str
    fingerprint: str
    validates: bool

    def training(self) -> Iterator[Read]:
        """Its records to tune on."""
        ...

    def validation(self) -> Iterator[Read]:
        """Its records to validate with; those to tune on where it knows no splits."""
        ...


def open_source(config: SourceConfig) -> Source:
    """The source at a path: a corpus folder, files of dialogues, or a data set on the Hub.

    Raises:
        DataNotFoundError: when nothing is there.
        DataFormatError: when there is something else.
        MissingExtraError: without pyarrow, for a corpus folder.
    """
    folder = Path(config.path).expanduser()
    try:
        is_corpus = (folder / _CORPUS).is_file()
    except (OSError, ValueError):
        is_corpus = False
    return _CorpusFolder(folder, config) if is_corpus else _Files(config)


class _CorpusFolder:
    """The splits of a corpus folder, whose files are verified when it is opened."""

    def __init__(self, folder: Path, config: SourceConfig) -> None:
        corpus = Corpus.open(folder)
        self._config = config
        splits = {"train": corpus.train, "validation": corpus.validation, "test": corpus.test}
        if config.split not in (None, "all", *splits):
            corpus.stream(str(config.split))  # says which there are
        train = splits.get(config.split or "train")
        self._training = tuple(splits.values()) if train is None else (train,)
        self._validation = (corpus.validation,) if config.split in (None, "train") else ()
        self.validates = any(map(len, self._validation))
        self.name = str(config.path)
        self.fingerprint = _fingerprint(corpus.digest, config)

    def training(self) -> Iterator[Read]:
        return _drawn(chain(*self._training), self._config)

    def validation(self) -> Iterator[Read]:
        return _drawn(chain(*(self._validation or self._training)), self._config)


class _Files:
    """Files of dialogues, wherever they lie."""

    validates = False

    def __init__(self, config: SourceConfig) -> None:
        # The weight is applied here, after duplicates are known.
        self._plain = config.model_copy(update={"weight": 1.0, "limit": None})
        self._config = config
        opened = stream_dialogues(self._plain)
        self._alone = Path(config.path).expanduser().is_file()
        self.name = opened.source
        self.fingerprint = _fingerprint(opened.fingerprint, config)

    def training(self) -> Iterator[Read]:
        return _drawn(stream_dialogues(self._plain), self._config, alone=self._alone)

    def validation(self) -> Iterator[Read]:
        return _drawn(self._to_validate(), self._config, alone=self._alone)

    def _to_validate(self) -> Iterator[Dialogue | RecordProblem]:
        """The validation split where names of files tell one, else all that is there."""
        if self._plain.split is None:
            try:
                return stream_dialogues(self._plain.model_copy(update={"split": "validation"}))
            except (DataFormatError, DataNotFoundError):
                pass
        return stream_dialogues(self._plain)


def _fingerprint(content: str, config: SourceConfig) -> str:
    settings = sorted(config.model_dump(exclude={"path", "licence", "revision"}).items())
    return hashlib.sha256(f"{content}\n{settings}".encode()).hexdigest()


def _drawn(
    items: Iterable[Dialogue | RecordProblem], config: SourceConfig, *, alone: bool = False
) -> Iterator[Read]:
    """Each record with how often weight and limit let it be used; nothing is read beyond the limit.

    Args:
        items: in order.
        config: the source's settings.
        alone: whether all are of one file, which need not be named.
    """
    room = config.limit
    for number, item in enumerate(items, 1):
        if isinstance(item, RecordProblem):
            name = str(item.record) if alone or not item.file else f"{item.file}:{item.record}"
            yield Read(number, name, item, 0)
            continue
        copies = _copies(item, config.weight)
        if room is not None:
            copies = min(copies, room)
            room -= copies
        yield Read(number, item.id if _IN_A_FILE.fullmatch(item.id) else str(number), item, copies)
        if room == 0:
            return


def _copies(dialogue: Dialogue, weight: float) -> int:
    """How often: the whole part of the weight, and once more for a share of the dialogues.

    The same draw as of `stream_dialogues`: what a build takes of a source, a run takes as well.
    """
    copies = int(weight)
    if weight == copies:
        return copies
    drawn = hashlib.sha256(f"weight\n{dialogue.digest}".encode()).digest()
    return copies + (int.from_bytes(drawn[:6], "big") / 2**48 < weight - copies)
