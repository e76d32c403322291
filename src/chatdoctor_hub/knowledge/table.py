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
from chatdoctor_hub.knowledge.csv_layouts import TableProblem, read_csv
from chatdoctor_hub.knowledge.disease import Disease
from chatdoctor_hub.knowledge.search import Hit, SearchIndex
from chatdoctor_hub.knowledge.starter import read_starter

__all__ = ["DiseaseTable"]


@dataclass(frozen=True, repr=False)
class DiseaseTable(Sequence[Disease]):
    """A sequence of diseases, with what is known of where it came from.

    Args:
        diseases: the rows, in the order of the source; at least one.
        problems: the rows of the source that could not be read, with line and reason.
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
    def from_csv(cls, path: str | PathLike[str]) -> DiseaseTable:
        """Read a table in one of ChatDoctor's three CSV layouts (`csv_layouts` describes them).

        A row that cannot be read goes to `problems`; text is cleaned as `cleaning` describes.

        Raises:
            DataNotFoundError: the file is missing or cannot be read.
            DataFormatError: it is not UTF-8, has another layout, or no row of it can be used.
        """
        found = read_csv(Path(path))
        return cls(found.diseases, found.problems, source=Path(path).name, repairs=found.repairs)

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
        """sha256 (hex) over every field of every row, in order, but for the line numbers."""
        rows = [{**dataclasses.asdict(disease), "line": 0} for disease in self.diseases]
        text = json.dumps(rows, ensure_ascii=False, sort_keys=True)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

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
        return SearchIndex(self.diseases)


@cache
def _starter() -> DiseaseTable:
    return DiseaseTable(read_starter(), source="starter")
