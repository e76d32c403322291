"""`KnowledgeDoctor` over the real sources: the index file, and Wikipedia's API by a stand-in."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableLambda

from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.knowledge.searching.index import DiseaseIndex
from chatdoctor_hub.knowledge.wikipedia.source import WikipediaSource
from chatdoctor_hub.langchain import ChatDoctor, KnowledgeDoctor
from chatdoctor_hub.langchain.knowledge import Failure, KnowledgePrompts

# The stand-in lives beside the tests of the source.
sys.path.append(str(Path(__file__).resolve().parents[1] / "knowledge"))

COUGH = "My little boy has a harsh, barking cough at night."
AGENT = "chatdoctor-hub-tests/1.0"


@pytest.fixture
def wiki():
    pytest.importorskip("wikipediaapi")
    from mediawiki_stand_in import stand_in

    with stand_in() as found:
        yield found


@pytest.fixture
def index(tmp_path):
    with DiseaseIndex.build(DiseaseTable.starter(), tmp_path / "starter.db") as found:
        yield found


def doctor_with(reply, *sources):
    script = lambda request: "barking cough" if "search terms" in request.messages[0]["content"] else reply  # noqa: E731
    return KnowledgeDoctor(ChatDoctor(engine=ScriptedEngine(script)), *sources)


def test_the_index_finds_what_the_table_finds(index):
    by_table = doctor_with("Rest.", DiseaseTable.starter()).consult(COUGH)
    by_index = doctor_with("Rest.", index).consult(COUGH)
    assert by_index.passages == by_table.passages
    assert by_index.passages[0].title == "Croup"


async def test_the_index_serves_threads_and_the_event_loop(index):
    doctor = doctor_with("Rest.", index)
    want = doctor.consult(COUGH).to_record()
    assert (await doctor.aconsult(COUGH)).to_record() == want
    told = await doctor.abatch([COUGH] * 12)
    told += RunnableLambda(doctor.invoke).batch([COUGH] * 12, {"max_concurrency": 6})
    assert all(message.response_metadata["knowledge"] == want for message in told)


def test_a_closed_index_is_noted(index):
    doctor = doctor_with("Rest [table:1].", index)
    index.close()
    found = doctor.consult(COUGH)
    assert found.failures == (Failure("table", "DataError"),)
    assert found.answer == f"{KnowledgePrompts.load().nothing_reached}\n\nRest."


def test_pages_are_cited_with_revision_and_licence(wiki):
    source = WikipediaSource(endpoint=wiki.endpoint, user_agent=AGENT)
    found = doctor_with("Keep him calm.", DiseaseTable.starter(), source).consult(COUGH)
    pages = [passage for passage in found.passages if passage.id.startswith("wiki:")]
    assert pages
    assert {passage.title for passage in pages} == {"Croup"}
    assert all((passage.licence, bool(passage.url)) == ("CC BY-SA 4.0", True) for passage in pages)
    for passage in pages:
        answer = f"Keep him calm {passage.citation}."
        again = doctor_with(answer, DiseaseTable.starter(), source).consult(COUGH)
        assert (again.answer, again.citations) == (answer, (passage.id,))


def test_a_wikipedia_that_cannot_be_reached_is_noted_and_the_table_answers():
    pytest.importorskip("wikipediaapi")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}/w/api.php"
    source = WikipediaSource(endpoint=endpoint, user_agent=AGENT, timeout=0.2, patience=0.3)
    found = doctor_with("Rest.", DiseaseTable.starter(), source).consult(COUGH)
    assert found.passages[0].title == "Croup"
    assert [failure.part for failure in found.failures] == ["wikipedia"]
