"""`DiseaseTable`: the diseases that dialogues are written from and answers are shown beside."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from os import PathLike
from pathlib import Path
from typing import overload

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge.disease import Disease
from chatdoctor_hub.knowledge.searching.search import Hit, SearchIndex
from chatdoctor_hub.knowledge.starter import read_starter
from chatdoctor_hub.knowledge.tables.csv_layouts import read_csv
from chatdoctor_hub.knowledge.tables.hub_table import fetch_table
from chatdoctor_hub.knowledge.tables.rows import RowReader, TableProblem
from chatdoctor_hub.knowledge.tables.table_files import read_table_file

__all__ = ["DiseaseTable"]


@dataclass(frozen=True, repr=False)
class DiseaseTable(Sequence[Disease]):
    """A sequence of diseases, with what is known of where it came from.

    Args:
        diseases: the rows, in the order of the source; at least one.
        problems: the rows, or values of rows, that could not be read, with line and reason.
        source: what was read: "starter", or the name of the file.
        repairs: how often each kind of damage was mended in the rows that were read.

    Raises:
        DataFormatError: when there is no disease.
    """

    diseases: tuple[Disease, ...]
    problems: tuple[TableProblem, ...] = ()
    source: str = ""
    repairs: Mapping[str, int] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "diseases", tuple(self.diseases))
        object.__setattr__(self, "problems", tuple(self.problems))
        if not self.diseases:
            raise DataFormatError("Expected at least one disease in a table, found none; add rows to it.")

    @classmethod
    def starter(cls) -> DiseaseTable:
        """The table of common conditions that ships with this package; read and indexed once."""
        return _starter()

    @classmethod
    def from_csv(cls, path: str | PathLike[str], *, strict: bool = False) -> DiseaseTable:
        """Read a table in one of ChatDoctor's three CSV layouts (`rows` describes them).

        A row that cannot be read goes to `problems`; text is cleaned as `cleaning` describes, and each row
        keeps its cells as they were in `Disease.raw`.

        Args:
            path: the file.
            strict: the first problem is an error.

        Raises:
            DataNotFoundError: the file is missing or cannot be read.
            DataFormatError: it is not UTF-8, has another layout, or no row of it can be used; with strict, the
                first problem.
        """
        return cls._of(read_csv(Path(path), strict=strict), Path(path).name)

    @classmethod
    def from_hub(
        cls, repo_id: str, *, filename: str | None = None, revision: str | None = None, strict: bool = False
    ) -> DiseaseTable:
        """Read a table from a data set on the Hub: CSV, Parquet or JSON Lines, with the columns of `rows`.

        HF_ENDPOINT, HF_HUB_OFFLINE, tokens and the cache are as huggingface_hub has them. `source` of the table,
        and of each row, is "org/name@commit/file".

        Args:
            repo_id: of the data set, "org/name".
            filename: of the file in it; may be left out where only one could be meant.
            revision: branch, tag or commit; None is the main branch.
            strict: the first problem in the file is an error.

        Raises:
            DataNotFoundError: there is no such data set, revision or file, or it cannot be reached.
            ConfigError: there are several tables, and none was named; the message lists them.
            DataFormatError: as `from_csv`.
            MissingExtraError: pyarrow, which reads Parquet, is not installed.
        """
        fetched = fetch_table(repo_id, filename, revision)
        return cls._of(read_table_file(fetched.path, strict=strict), fetched.source)

    @classmethod
    def _of(cls, found: RowReader, source: str) -> DiseaseTable:
        diseases = found.diseases
        if any(disease.source != source for disease in diseases[:1]):
            diseases = [dataclasses.replace(disease, source=source) for disease in diseases]
        return cls(tuple(diseases), tuple(found.problems), source=source, repairs=dict(found.repairs))

    def __len__(self) -> int:
        return len(self.diseases)

    @overload
    def __getitem__(self, index: int) -> Disease: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Disease, ...]: ...
    def __getitem__(self, index: int | slice) -> Disease | tuple[Disease, ...]:
        return self.diseases[index]

    def __repr__(self) -> str:
        return f"<DiseaseTable {self.source!r}: {len(self)} diseases, {len(self.problems)} problems>"

    @cached_property
    def digest(self) -> str:
        """sha256 (hex) over every field of every row, in order, but for line numbers and raw cells."""
        digest = hashlib.sha256()
        for disease in self.diseases:
            row = {**vars(disease), "medications": [vars(item) for item in disease.medications]}
            del row["line"], row["raw"]
            text = json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n"
            digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def search(self, text: str, k: int = 3) -> list[Hit]:
        """The diseases whose names and symptoms fit the text best, best first (`search` tells how).

        Args:
            text: a patient's words, or key words.
            k: how many at most; fewer are returned where fewer share a word with the text.

        Raises:
            ConfigError: when k is below 1.
        """
        return self._index.search(text, k)

    @cached_property
    def _index(self) -> SearchIndex:
        return SearchIndex(self.diseases, self.source)


@cache
def _starter() -> DiseaseTable:
    return DiseaseTable(read_starter(), source="starter")
