"""`stream_dialogues`: the dialogues of any source, one by one, in memory that does not grow with it."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Generator, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from chatdoctor_hub.corpus.reading.conversion import dialogue_from_record, own_id
from chatdoctor_hub.corpus.reading.formats import records_of
from chatdoctor_hub.corpus.reading.locating import SourceFile, locate
from chatdoctor_hub.corpus.reading.published import UNKNOWN_LICENCE, Provenance, published_set
from chatdoctor_hub.corpus.reading.records import Fault, Record, RecordProblem
from chatdoctor_hub.corpus.reading.repair import UnusableRecordError
from chatdoctor_hub.corpus.reading.tally import Tally
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError

if TYPE_CHECKING:
    from chatdoctor_hub.corpus.reading.source import SourceConfig

__all__ = ["DialogueStream", "stream_dialogues"]

_IDS_MISSING = "ids_missing"
_IDS_REPEATED = "ids_repeated"
# Repeated ids are noticed among so many, so that memory stays bounded.
_IDS_REMEMBERED = 1_000_000


def stream_dialogues(
    source: SourceConfig | str | os.PathLike[str], *, strict: bool = False
) -> DialogueStream:
    """Read dialogues from a file, a folder of files or a data set on the Hub, one by one.

    JSON (an array, or an object of records), JSON Lines, CSV, TSV and Parquet are told from the content, the
    text formats also in gzip or Zstandard; so is the layout of each record, unless the source's adapter names
    a published set. Files of a folder are read in the order of their names.

    A record's own patient or dialogue id becomes the dialogue's `id` and may repeat; otherwise that is the
    number of the record in its file, with the file's name before it where there are several.

    Args:
        source: what to read; a path or a Hub id alone takes the defaults of `SourceConfig`.
        strict: make the first record that cannot be used an error.

    Returns:
        An iterator of dialogues and, in their places, the problems of the records that could not be used.

    Raises:
        DataNotFoundError: when there is nothing at the path, or on the Hub.
        ConfigError: when a setting is wrong.
        DataFormatError: while reading: when a file is of no known format, nothing of the source can be used,
            or, if `strict`, at the first problem.
        MissingExtraError: while reading: without pyarrow, for Parquet and Zstandard.
    """
    from chatdoctor_hub.corpus.reading.source import SourceConfig

    if not isinstance(source, (str, os.PathLike, SourceConfig)):
        raise DataFormatError(
            f"Expected a path, a Hub id or a SourceConfig to read dialogues from, found {type(source).__name__}; "
            "name the file."
        )
    config = source if isinstance(source, SourceConfig) else SourceConfig(path=os.fspath(source))
    return DialogueStream(config, strict=strict)


class DialogueStream(Iterator["Dialogue | RecordProblem"]):
    """What `stream_dialogues` gives; it can be gone through once.

    Attributes:
        source: the name that the dialogues carry: of the file or folder, or the Hub id.
        repairs: how many dialogues needed each kind of repair, so far.
        provenance: where they come from and under what terms.
    """

    def __init__(self, config: SourceConfig, *, strict: bool = False) -> None:
        published = published_set(config.adapter) if config.adapter else None
        known = published.config if published and published.hub == config.path else ""
        self._config = config
        self._strict = strict
        self._layouts = published.layouts if published else ()
        self._files = locate(config, known)
        self._tally = Tally(self._files.place, config.adapter or "", self._layouts)
        self._ids: set[int] = set()
        self.source = self._files.name
        self.repairs: Counter[str] = Counter()
        about = published.provenance if published else Provenance(self._files.name, self._url())
        self.provenance = Provenance(
            name=about.name,
            url=about.url,
            licence=config.licence or _stated(about.licence) or self._files.licence or about.licence,
            citation=about.citation,
            notes=about.notes + ((self._files.note,) if self._files.note else ()),
        )
        self._items = self._read()

    def _url(self) -> str:
        return f"https://huggingface.co/datasets/{self._files.name}" if self._files.revision else ""

    @cached_property
    def fingerprint(self) -> str:
        """sha256 (hex) of what is read: the files (or the Hub's commit) and every setting that bears on it."""
        settings = self._config.model_dump(exclude={"path", "licence", "revision"})
        return hashlib.sha256(f"{self._files.digest()}\n{sorted(settings.items())}".encode()).hexdigest()

    def __iter__(self) -> DialogueStream:
        return self

    def __next__(self) -> Dialogue | RecordProblem:
        return next(self._items)

    def close(self) -> None:
        """Stop reading and close the file that is open."""
        self._items.close()

    def _read(self) -> Generator[Dialogue | RecordProblem, None, None]:
        room = self._config.limit
        for file in self._files.files:
            for item in self._of_file(file):
                if isinstance(item, RecordProblem):
                    yield item
                    continue
                for _ in range(self._copies(item)):
                    yield item
                    if room is not None and (room := room - 1) == 0:
                        return
        if verdict := self._tally.verdict():
            raise verdict

    def _of_file(self, file: SourceFile) -> Iterator[Dialogue | RecordProblem]:
        prefix = f"{file.name}:" if len(self._files.files) > 1 else ""
        answer = self._config.answer
        for record in self._records(file):
            made: set[str] = set()
            try:
                if record.fault:
                    raise UnusableRecordError(record.fault.reason)
                name = self._id(record, prefix, made)
                item = dialogue_from_record(record.value, name, self.source, made, self._layouts, answer)
            except UnusableRecordError as error:
                problem = RecordProblem(record.number, record.line, str(error), file.name)
                self._tally.note(problem, record, error)
                if self._strict:
                    raise self._refusal(problem) from None
                yield problem
                continue
            self._tally.usable += 1
            if made:
                self.repairs.update(made)
            yield item

    def _records(self, file: SourceFile) -> Iterator[Record]:
        try:
            yield from records_of(file.fetch())
        except DataFormatError as error:
            # Of many files, one that is none of dialogues costs itself alone.
            if len(self._files.files) == 1:
                raise
            yield Record(1, None, None, Fault("file", str(error)))

    def _id(self, record: Record, prefix: str, made: set[str]) -> str:
        own = own_id(record.value, record.key)
        if own is None:
            return f"{prefix}{record.number}"
        if not own:
            made.add(_IDS_MISSING)
            return f"{prefix}record-{record.number}"
        mark = hash(own)
        if mark in self._ids:
            made.add(_IDS_REPEATED)
        elif len(self._ids) < _IDS_REMEMBERED:
            self._ids.add(mark)
        return own

    def _copies(self, dialogue: Dialogue) -> int:
        """How often a dialogue is used: the whole part of the weight, and once more for a share of them."""
        weight = self._config.weight
        copies = int(weight)
        if weight == copies:
            return copies
        drawn = hashlib.sha256(f"weight\n{dialogue.digest}".encode()).digest()
        return copies + (int.from_bytes(drawn[:6], "big") / 2**48 < weight - copies)

    def _refusal(self, problem: RecordProblem) -> DataFormatError:
        place = self._files.place if len(self._files.files) == 1 else f"{problem.file} of {self._files.place}"
        return DataFormatError(
            f"Expected every record of {place} to be a dialogue, found {problem}; correct it, or read without "
            "strict to have it left out and listed."
        )


def _stated(licence: str) -> str:
    return "" if licence == UNKNOWN_LICENCE else licence
