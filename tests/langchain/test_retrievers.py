"""The two retrievers: LangChain's own suite for them, what their documents tell, and that they do not block."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_core.documents import Document
from langchain_core.runnables import RunnableLambda
from langchain_tests.integration_tests import RetrieversIntegrationTests

from chatdoctor_hub.errors import ConfigError, DataError
from chatdoctor_hub.knowledge import Disease, DiseaseTable, Medication
from chatdoctor_hub.knowledge.wikipedia.source import Passage, WikipediaSource
from chatdoctor_hub.langchain.knowledge.evidence import from_hit, from_passage
from chatdoctor_hub.langchain.retrievers import DiseaseRetriever, WikipediaRetriever, disease_text

# The stand-in of a wiki is described beside the tests of the source.
sys.path.append(str(Path(__file__).resolve().parents[1] / "knowledge"))

GOUT = Disease(
    name="Gout",
    symptoms=("swollen big toe", "red joint"),
    lay_symptoms=("my toe is on fire",),
    cause="Crystals of uric acid form\n in a joint.",
    tests=("blood test for uric acid", "joint fluid under a microscope"),
    medications=(Medication("anti-inflammatory drugs", ("naproxen",)), Medication("colchicine")),
    red_flags=("fever with a hot joint",),
    see_doctor="See a doctor at the first attack.",
    icd10cm="M10.9",
    source="gout.csv",
    line=7,
)
TABLE = DiseaseTable((Disease("Croup", ("barking cough",)), GOUT, Disease("Toe fracture", ("swollen toe",))))


@pytest.fixture(scope="module")
def wiki() -> Iterator[Any]:
    pytest.importorskip("wikipediaapi")
    from mediawiki_stand_in import stand_in

    with stand_in() as found:
        yield found


class TestDiseaseRetrieverStandard(RetrieversIntegrationTests):
    @property
    def retriever_constructor(self) -> type[DiseaseRetriever]:
        return DiseaseRetriever

    @property
    def retriever_query_example(self) -> str:
        return "a dry cough and a fever for three days"


class TestWikipediaRetrieverStandard(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _over(self, wiki: Any) -> None:
        self.wiki = wiki

    @property
    def retriever_constructor(self) -> type[WikipediaRetriever]:
        return WikipediaRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"source": WikipediaSource(endpoint=self.wiki.endpoint)}

    @property
    def retriever_query_example(self) -> str:
        return "croup cough of children"


class Recorded:
    """A source that notes what it is asked, and in which thread."""

    def __init__(self, wait: float = 0.0) -> None:
        self.asked: list[tuple[str, int]] = []
        self.threads: set[int] = set()
        self.wait = wait

    def search(self, text: str, k: int) -> Sequence[Any]:
        self.asked.append((text, k))
        self.threads.add(threading.get_ident())
        time.sleep(self.wait)
        return []


def test_a_row_to_read() -> None:
    assert disease_text(GOUT).split("\n") == [
        "Gout",
        "Symptoms: swollen big toe; red joint",
        "Cause: Crystals of uric acid form in a joint.",
        "Tests: blood test for uric acid; joint fluid under a microscope",
        "Medications: anti-inflammatory drugs (naproxen); colchicine",
        "Red flags (need help at once): fever with a hot joint",
        "When to see a doctor: See a doctor at the first attack.",
    ]
    assert disease_text(Disease("Croup", ("barking cough",))) == "Croup\nSymptoms: barking cough"


def test_a_row_that_is_much_too_long_is_cut_and_says_so() -> None:
    huge = Disease("x" * 10**6, tuple(f"symptom {at}" for at in range(9_999)), cause="word " * 10**6)
    text = disease_text(huge)
    assert len(text) < 8_000
    assert "symptom 24; and 9974 more" in text
    assert text.count("[…]") == 2


def test_what_a_document_tells_of_its_row() -> None:
    (found, *_) = DiseaseRetriever(index=TABLE, k=2).invoke("my big toe is swollen and red")
    hit = TABLE.search("my big toe is swollen and red", 1)[0]
    assert found.id == "table:2"
    assert found.page_content == disease_text(GOUT)
    assert found.metadata == {
        "source": "gout.csv line 7",
        "id": "2",
        "score": hit.score,
        "matched": list(hit.matched),
        "disease": "Gout",
        "icd10cm": "M10.9",
        "citation": "[table:2]",
    }
    assert from_hit(hit).citation == found.metadata["citation"], "the id that the autonomous doctor uses"
    assert json.loads(json.dumps(found.metadata)) == found.metadata


def test_what_a_document_tells_of_its_passage(wiki: Any) -> None:
    source = WikipediaSource(endpoint=wiki.endpoint)
    (found,) = WikipediaRetriever(source=source, k=1).invoke("croup stridor")
    (passage,) = source.search("croup stridor", 1)
    assert found.page_content == passage.text
    assert found.metadata["title"] == "Croup"
    assert found.metadata["section"] == "Signs"
    assert found.metadata["url"] == "https://wiki.invalid/wiki/Croup?oldid=1001"
    assert found.metadata["revision"] == 1001
    assert found.metadata["licence"] == "CC BY-SA 4.0"
    assert found.metadata["score"] > 0
    assert found.metadata["citation"] == from_passage(passage).citation == f"[{found.id}]"
    assert found.metadata["citation"].startswith("[wiki:Croup@1001#")
    assert json.loads(json.dumps(found.metadata)) == found.metadata


def test_by_default_the_starter_table_and_the_english_wikipedia() -> None:
    assert DiseaseRetriever().invoke("sneezing and a runny nose")[0].metadata["disease"]
    assert DiseaseRetriever().k == 5
    assert WikipediaRetriever().k == 3
    assert WikipediaRetriever().invoke(" ") == []


@pytest.mark.parametrize("retriever", [DiseaseRetriever, WikipediaRetriever])
def test_no_words_no_question(retriever: Any) -> None:
    source = Recorded()
    name = "index" if retriever is DiseaseRetriever else "source"
    made = retriever(**{name: source})
    assert made.invoke(" \n") == made.invoke("") == []
    assert source.asked == []
    assert made.invoke("cough", k=7) == []
    assert source.asked == [("cough", 7)]


@pytest.mark.parametrize("k", [0, -3, 1.5, True, "2"])
def test_k_at_a_call_is_a_number_from_one(k: Any) -> None:
    with pytest.raises(ConfigError, match="k, the number of documents wanted, to be at least 1"):
        DiseaseRetriever(index=TABLE).invoke("toe", k=k)


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"k": 0}, "Expected other settings for DiseaseRetriever, found k: "),
        ({"index": [GOUT]}, "Expected other settings for DiseaseRetriever, found index: "),
        ({"indx": TABLE}, "did you mean 'index'"),
    ],
)
def test_settings_that_are_wrong(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=fault):
        DiseaseRetriever(**settings)


def test_an_error_of_the_source_comes_through() -> None:
    class Broken:
        def search(self, text: str, k: int) -> Sequence[Any]:
            raise DataError("Expected an answer, found none; search again later.")

    with pytest.raises(DataError, match="found none"):
        WikipediaRetriever(source=Broken()).invoke("cough")


async def test_the_event_loop_goes_on_while_a_source_searches() -> None:
    source = Recorded(wait=0.3)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    began = time.monotonic()
    await asyncio.gather(*(WikipediaRetriever(source=source).ainvoke("cough") for _ in range(4)))
    ticking.cancel()
    assert ticks >= 5
    assert time.monotonic() - began < 1.1, "side by side"
    assert threading.get_ident() not in source.threads
    assert await DiseaseRetriever(index=source).ainvoke("toe", k=2) == []
    assert source.asked[-1] == ("toe", 2)


async def test_batches_and_chains() -> None:
    retriever = DiseaseRetriever(index=TABLE, k=1)
    one, two = retriever.batch(["barking cough", "big toe"])
    assert [one[0].metadata["disease"], two[0].metadata["disease"]] == ["Croup", "Gout"]
    chain = retriever | RunnableLambda(lambda found: [document.id for document in found])
    assert await chain.abatch(["barking cough", "big toe"]) == [["table:1"], ["table:2"]]


def test_the_index_serves_as_well(tmp_path: Path) -> None:
    from chatdoctor_hub.knowledge.searching.index import DiseaseIndex

    with DiseaseIndex.build(TABLE, tmp_path / "diseases.sqlite") as index:
        found = DiseaseRetriever(index=index, k=1).batch(["big toe", "barking cough"] * 8)
    assert [documents[0].id for documents in found] == ["table:2", "table:1"] * 8


async def test_the_index_serves_other_threads(tmp_path: Path) -> None:
    from chatdoctor_hub.knowledge.searching.index import DiseaseIndex

    with DiseaseIndex.build(TABLE, tmp_path / "diseases.sqlite") as index:
        found = await DiseaseRetriever(index=index, k=1).abatch(["big toe", "barking cough"] * 8)
    assert [documents[0].id for documents in found] == ["table:2", "table:1"] * 8


def test_documents_are_langchain_s() -> None:
    passage = Passage("Text.", "Croup", "", "https://wiki.invalid", 1, score=0.5)

    class One:
        def search(self, text: str, k: int) -> Sequence[Passage]:
            return [passage]

    (found,) = WikipediaRetriever(source=One()).invoke("croup")
    assert isinstance(found, Document)
    assert found.metadata["section"] == ""
