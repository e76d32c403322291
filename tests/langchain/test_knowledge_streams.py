"""Streams of `KnowledgeDoctor`, and its place in a graph."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.langchain import ChatDoctor, KnowledgeDoctor
from chatdoctor_hub.langchain.knowledge import KnowledgePrompts

TABLE = DiseaseTable((Disease("Migraine", ("throbbing headache", "sensitivity to light")),))
HEAD = "My head throbs and light hurts my eyes."
ANSWER = "It may be [table:1], or (see [table:9]) something else [table:2]. Rest in a dark [room] [table: 1]"
CHECKED = "It may be [table:1], or something else. Rest in a dark [room] [table:1]"


def scripted(*replies, **given):
    engine = ScriptedEngine(list(replies))
    return KnowledgeDoctor(ChatDoctor(engine=engine, **given), TABLE), engine


def added(chunks):
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


def test_a_stream_says_what_invoke_says():
    whole = scripted("headache", ANSWER)[0].invoke(HEAD)
    chunks = list(scripted("headache", ANSWER)[0].stream(HEAD))
    assert whole.content == CHECKED
    assert all(isinstance(chunk, AIMessageChunk) for chunk in chunks)
    assert len(chunks) > 5
    assert ["knowledge" in chunk.response_metadata for chunk in chunks] == [False] * (len(chunks) - 1) + [
        True
    ]
    joined = added(chunks)
    assert joined.content == whole.content
    assert joined.response_metadata == whole.response_metadata
    assert joined.usage_metadata == whole.usage_metadata
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    assert chunks[-1].chunk_position == "last"


async def test_an_asynchronous_stream_says_the_same():
    chunks = [chunk async for chunk in scripted("headache", ANSWER)[0].astream(HEAD)]
    assert added(chunks).content == CHECKED
    assert added(chunks).response_metadata["knowledge"]["invented_citations"] == 2


@settings(max_examples=40, deadline=None)
@given(st.text(alphabet="[]():,tablewik129 \n.", max_size=60))
def test_whatever_the_model_says_the_stream_is_the_answer(words):
    doctor = lambda: KnowledgeDoctor(  # noqa: E731
        GenericFakeChatModel(messages=iter([AIMessage("headache"), AIMessage(words or "x")])), TABLE
    )
    whole = doctor().invoke(HEAD)
    assert "".join(chunk.content for chunk in doctor().stream(HEAD)) == whole.content


def test_the_text_comes_while_the_model_speaks():
    doctor, _ = scripted("headache", "One two three four five [table:1]")
    stream = doctor.stream(HEAD)
    assert [next(stream).content for _ in range(3)] == ["One", " two", " three"]


def test_that_nothing_was_found_is_said_first():
    doctor, _ = scripted("qwertz", "[table:1] Rest.")
    chunks = [chunk.content for chunk in doctor.stream("asdf")]
    assert chunks[0] == KnowledgePrompts.load().nothing_found
    assert "".join(chunks) == f"{chunks[0]}\n\nRest."
    assert scripted("qwertz", "[table:1] Rest.")[0].invoke("asdf").content == "".join(chunks)


def test_a_model_that_says_nothing():
    doctor, _ = scripted("qwertz", "[table:1]")
    assert doctor.invoke("asdf").content == KnowledgePrompts.load().nothing_found
    empty, _ = scripted("headache", "")
    assert added(list(empty.stream(HEAD))).content == ""


def test_closing_a_stream_stops_the_model():
    said = []

    class Telling(ScriptedEngine):
        def stream(self, request):
            for delta in super().stream(request):
                said.append(delta.text)
                yield delta

    doctor = KnowledgeDoctor(ChatDoctor(engine=Telling(["headache", "word " * 50])), TABLE)
    stream = doctor.stream(HEAD)
    next(stream)
    stream.close()
    assert len(said) < 10


async def test_closing_an_asynchronous_stream():
    doctor, engine = scripted("headache", "word " * 50)
    stream = doctor.astream(HEAD)
    await anext(stream)
    await stream.aclose()
    assert len(engine.calls) == 2


def test_an_error_of_the_model_ends_the_stream():
    doctor, _ = scripted("headache", GenerationError("down"))
    with pytest.raises(GenerationError, match="down"):
        list(doctor.stream(HEAD))


async def test_it_streams_through_a_chain_and_as_events():
    chain = scripted("headache", ANSWER)[0] | StrOutputParser()
    pieces = list(chain.stream(HEAD))
    assert "".join(pieces) == CHECKED
    assert len(pieces) > 5
    doctor, _ = scripted("headache", ANSWER)
    events = [event async for event in doctor.astream_events(HEAD, version="v2")]
    assert (events[0]["event"], events[0]["name"]) == ("on_chain_start", "KnowledgeDoctor")
    told = [
        e["data"]["chunk"].content
        for e in events
        if (e["event"], e["name"]) == ("on_chain_stream", "KnowledgeDoctor")
    ]
    assert "".join(told) == CHECKED
    assert {e["name"] for e in events if e["event"] == "on_chat_model_start"} == {"keywords", "answer"}


# In a graph


def graph_of(doctor):
    graph = pytest.importorskip("langgraph.graph")
    builder = graph.StateGraph(graph.MessagesState)
    builder.add_node("doctor", doctor | (lambda message: {"messages": [message]}))
    builder.add_edge(graph.START, "doctor")
    builder.add_edge("doctor", graph.END)
    return builder


async def test_as_a_node_of_a_graph():
    doctor, engine = scripted("headache", ANSWER, "", "Sleep [table:1].")
    saver = pytest.importorskip("langgraph.checkpoint.memory").InMemorySaver()
    app = graph_of(doctor).compile(checkpointer=saver)
    config = {"configurable": {"thread_id": "1"}}
    state = app.invoke({"messages": [HumanMessage(HEAD)]}, config)
    assert [message.type for message in state["messages"]] == ["human", "ai"]
    assert state["messages"][-1].content == CHECKED
    assert state["messages"][-1].response_metadata["knowledge"]["citations"] == ["table:1"]
    state = await app.ainvoke({"messages": [HumanMessage("And now?")]}, config)
    assert [message.type for message in state["messages"]] == ["human", "ai", "human", "ai"]
    assert state["messages"][-1].content == "Sleep [table:1]."
    assert "My head throbs" in engine.calls[2].messages[1]["content"]


async def test_a_graph_streams_the_checked_message_and_not_the_models_raw_words():
    for way in ("stream", "astream"):
        app = graph_of(scripted("headache", ANSWER)[0]).compile()
        given = {"messages": [HumanMessage(HEAD)]}
        if way == "stream":
            found = list(app.stream(given, stream_mode="messages"))
        else:
            found = [item async for item in app.astream(given, stream_mode="messages")]
        assert "".join(message.content for message, _ in found) == CHECKED
