"""Agents, graphs, chains and event streams of LangChain over `ChatDoctor`."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain")
pytest.importorskip("langgraph")

from langchain.agents import create_agent
from langchain.agents.middleware import (
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    PIIMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from pydantic import BaseModel

from chatdoctor_hub.errors import EndpointBusyError, EndpointRequestError
from chatdoctor_hub.inference import ScriptedEngine, ToolCall
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")


@tool
def lookup(name: str) -> str:
    """Look a disease up."""
    return f"{name}: uric acid"


@tool
def dose(weight: float) -> str:
    """The dose for a weight."""
    return f"{weight / 10:g} mg"


class Advice(BaseModel):
    """What to do."""

    urgent: bool
    words: str


ADVICE = {"urgent": False, "words": "Rest."}
LOOKUP = ToolCall("lookup", {"name": "gout"}, "call-1")
DOSE = ToolCall("dose", {"weight": 70.0}, "call-2")
ASKED = {"messages": [HumanMessage("My toe hurts.")]}


def agent_of(script, **settings):
    engine = ScriptedEngine(script)
    return create_agent(ChatDoctor(engine=engine), [lookup, dose], **settings), engine


async def test_two_tools():
    for ask in ("invoke", "ainvoke"):
        agent, engine = agent_of([(LOOKUP, DOSE), "Rest, and take 7 mg."])
        done = agent.invoke(ASKED) if ask == "invoke" else await agent.ainvoke(ASKED)
        kinds = [message.type for message in done["messages"]]
        assert kinds == ["human", "ai", "tool", "tool", "ai"]
        assert done["messages"][-1].content == "Rest, and take 7 mg."
        assert [m["content"] for m in engine.calls[1].messages[-2:]] == ["gout: uric acid", "7 mg"]
        assert all(call.messages[0]["content"] == PAIR.serving_text for call in engine.calls)


async def test_a_system_prompt_comes_after_the_safety_prompt():
    agent, engine = agent_of(["Rest."], system_prompt="Be brief.")
    agent.invoke(ASKED)
    assert engine.calls[0].messages[0]["content"] == f"{PAIR.serving_text}\n\nBe brief."


def test_a_form_by_tools():
    agent, engine = agent_of(
        [LOOKUP, ToolCall("Advice", ADVICE, "call-2")], response_format=ToolStrategy(Advice)
    )
    assert agent.invoke(ASKED)["structured_response"] == Advice(**ADVICE)
    assert engine.calls[0].tool_names == ("lookup", "dose", "Advice")
    assert engine.calls[0].tool_choice == "required"


@pytest.mark.parametrize("form", [ProviderStrategy(Advice), ProviderStrategy(Advice, strict=True), Advice])
def test_a_form_by_the_provider(form):
    """Which is what LangChain takes for a bare class too, by the model's profile."""
    agent, engine = agent_of([LOOKUP, ToolCall("Advice", ADVICE, "call-2")], response_format=form)
    done = agent.invoke(ASKED)
    assert done["structured_response"] == Advice(**ADVICE)
    assert [message.type for message in done["messages"]] == ["human", "ai", "tool", "ai"]
    assert engine.calls[0].tool_names == ("lookup", "dose", "Advice")


def test_a_form_without_tools():
    engine = ScriptedEngine('{"urgent": false, "words": "Rest."}')
    agent = create_agent(ChatDoctor(engine=engine), [], response_format=Advice)
    assert agent.invoke(ASKED)["structured_response"] == Advice(**ADVICE)
    assert engine.calls[0].response_schema["title"] == "Advice"


def test_retries():
    busy = EndpointBusyError("busy", status=429)
    retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False, on_failure="error")
    agent, engine = agent_of([busy, busy, "Rest."], middleware=[retry])
    assert agent.invoke(ASKED)["messages"][-1].content == "Rest."
    assert len(engine.calls) == 3
    agent, engine = agent_of([EndpointRequestError("bad", status=422), "Rest."], middleware=[retry])
    with pytest.raises(EndpointRequestError):
        agent.invoke(ASKED)
    assert len(engine.calls) == 1


def test_fallbacks():
    other = ChatDoctor(engine=ScriptedEngine("Rest."))
    agent, _ = agent_of([EndpointBusyError("busy")], middleware=[ModelFallbackMiddleware(other)])
    assert agent.invoke(ASKED)["messages"][-1].content == "Rest."
    llm = ChatDoctor(engine=ScriptedEngine([EndpointBusyError("busy")]))
    assert llm.with_fallbacks([other]).invoke("Hi").content == "Rest."


SHORT = ChatDoctor(engine=ScriptedEngine("It is a sore toe."))


def test_summaries_by_the_models_own_count():
    engine = ScriptedEngine("Rest.")
    llm = ChatDoctor(engine=engine)
    limit = llm.get_num_tokens_from_messages([HumanMessage("word")]) + 20
    summarize = SummarizationMiddleware(
        SHORT, trigger=("tokens", limit), keep=("messages", 1), token_counter=llm.get_num_tokens_from_messages
    )
    talk = [HumanMessage("word " * 30), AIMessage("Yes."), HumanMessage("And now?")]
    done = create_agent(llm, [], middleware=[summarize]).invoke({"messages": talk})["messages"]
    assert [message.type for message in done] == ["human", "human", "ai"]
    assert "It is a sore toe." in done[0].content
    assert "word word" not in str(engine.calls[0].messages)


def test_a_talk_too_long_to_summarise_is_cut_in_the_middle():
    """LangChain does so for its own ContextOverflowError, which only the standard family tells it of."""
    small = ScriptedEngine("It is a sore toe.", context_length=900)
    summarize = SummarizationMiddleware(
        ChatDoctor(engine=small), trigger=("messages", 3), keep=("messages", 1), trim_tokens_to_summarize=None
    )
    engine = ScriptedEngine("Rest.")
    agent = create_agent(ChatDoctor(engine=engine), [], middleware=[summarize])
    talk = [HumanMessage("word " * 800), AIMessage("Yes."), HumanMessage("And now?")]
    assert agent.invoke({"messages": talk})["messages"][-1].content == "Rest."
    assert "It is a sore toe." in str(engine.calls[0].messages)


def test_a_fraction_of_the_profile():
    llm = ChatDoctor(engine=ScriptedEngine("Rest.", context_length=4000))
    assert SummarizationMiddleware(llm, trigger=("fraction", 0.5))._get_profile_limits() == 4000


def test_what_identifies_the_patient_does_not_reach_the_model():
    agent, engine = agent_of(["Rest."], middleware=[PIIMiddleware("email", strategy="redact")])
    agent.invoke({"messages": [HumanMessage("I am jo@example.com, my toe hurts.")]})
    assert "jo@example.com" not in str(engine.calls[0].messages)
    assert "my toe hurts" in str(engine.calls[0].messages)


async def test_a_graph_streams_tokens_and_calls():
    agent, _ = agent_of([LOOKUP, "Rest well and drink."])
    pieces = [
        piece for piece, _ in agent.stream(ASKED, stream_mode="messages") if isinstance(piece, AIMessageChunk)
    ]
    assert "".join(str(piece.content) for piece in pieces) == "Rest well and drink."
    assert "".join(c["args"] or "" for p in pieces for c in p.tool_call_chunks) == '{"name": "gout"}'
    agent, _ = agent_of([LOOKUP, "Rest well and drink."])
    updates = [update async for update in agent.astream(ASKED, stream_mode="updates")]
    assert [next(iter(update)) for update in updates] == ["model", "tools", "model"]


def test_a_graph_of_ones_own():
    llm = ChatDoctor(engine=ScriptedEngine("Rest well."))
    graph = StateGraph(MessagesState)
    graph.add_node("doctor", lambda state: {"messages": [llm.invoke(state["messages"])]})
    graph.add_edge(START, "doctor")
    graph.add_edge("doctor", END)
    app = graph.compile()
    words = [piece.content for piece, _ in app.stream(ASKED, stream_mode="messages")]
    assert "".join(words) == "Rest well."
    assert len(words) > 2


async def test_chains_with_tools_and_fallbacks():
    llm = ChatDoctor(engine=ScriptedEngine(LOOKUP)).bind_tools([lookup])
    chain = ChatPromptTemplate.from_template("{q}") | llm | (lambda message: message.tool_calls[0]) | lookup
    assert chain.invoke({"q": "My toe hurts."}).content == "gout: uric acid"
    said = (
        ChatPromptTemplate.from_template("{q}")
        | ChatDoctor(engine=ScriptedEngine("Rest."))
        | StrOutputParser()
    )
    assert [piece async for piece in said.astream({"q": "x"})] != ["Rest."]
    assert await said.abatch([{"q": "a"}, {"q": "b"}]) == ["Rest.", "Rest."]


async def test_events_v2_with_calls():
    llm = ChatDoctor(engine=ScriptedEngine(LOOKUP)).bind_tools([lookup])
    events = [event async for event in llm.astream_events("Hi", version="v2")]
    assert [events[0]["event"], events[-1]["event"]] == ["on_chat_model_start", "on_chat_model_end"]
    assert events[-1]["data"]["output"].tool_calls[0]["args"] == {"name": "gout"}
    assert events[-1]["data"]["output"].usage_metadata["output_tokens"] == 2


async def test_events_v3_with_calls_and_thoughts():
    from chatdoctor_hub.inference import ChatReply, Usage

    reply = ChatReply("I look.", "tool_calls", Usage(5, 9), "x", (LOOKUP, DOSE), reasoning="Gout?")
    llm = ChatDoctor(engine=ScriptedEngine(reply)).bind_tools([lookup, dose])
    stream = llm.stream_events("Hi", version="v3")
    output = stream.output
    assert output.text == "I look."
    assert [call["args"] for call in output.tool_calls] == [{"name": "gout"}, {"weight": 70.0}]
    assert output.usage_metadata["total_tokens"] == 14
    kinds = [block["type"] for block in output.content_blocks]
    assert kinds == ["reasoning", "text", "tool_call", "tool_call"]
    astream = await llm.astream_events("Hi", version="v3")
    assert (await astream.output).text == "I look."
