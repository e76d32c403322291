"""Calling tools: bound, asked for, streamed, answered, and written badly."""

from __future__ import annotations

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from chatdoctor_hub.errors import ConfigError, DataFormatError, GenerationError
from chatdoctor_hub.inference import ChatReply, InvalidToolCall, ScriptedEngine, ToolCall, Usage
from chatdoctor_hub.langchain import ChatDoctor


@tool
def lookup(name: str) -> str:
    """Look a disease up."""
    return f"about {name}"


@tool
def dose(weight: float) -> float:
    """The dose for a weight."""
    return weight / 10


CALL = ToolCall("lookup", {"name": "gout 痛風"}, "call-1")
BROKEN = ChatReply(
    "", "tool_calls", Usage(1, 1), "x", (), (InvalidToolCall('{"name": ', "no JSON", "lookup", "call-9"),)
)
WAYS = pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])


async def ask(llm, way, words="Hello"):
    if way == "invoke":
        return llm.invoke(words)
    if way == "ainvoke":
        return await llm.ainvoke(words)
    if way == "batch":
        return llm.batch([words])[0]
    if way == "abatch":
        return (await llm.abatch([words]))[0]
    chunks = list(llm.stream(words)) if way == "stream" else [chunk async for chunk in llm.astream(words)]
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    return whole


@WAYS
async def test_a_call_on_every_path(way):
    engine = ScriptedEngine(CALL)
    message = await ask(ChatDoctor(engine=engine).bind_tools([lookup, dose]), way)
    assert message.tool_calls == [
        {"name": "lookup", "args": {"name": "gout 痛風"}, "id": "call-1", "type": "tool_call"}
    ]
    assert message.content == ""
    assert message.response_metadata["finish_reason"] == "tool_calls"
    assert engine.calls[0].tool_names == ("lookup", "dose")
    assert engine.calls[0].tool_choice == "auto"


@WAYS
async def test_several_calls_beside_text_and_thoughts(way):
    calls = (CALL, ToolCall("dose", {"weight": 70.5}, "call-2"))
    engine = ScriptedEngine(
        ChatReply("I look it up.", "tool_calls", Usage(5, 9), "x", calls, reasoning="Gout, or not?")
    )
    message = await ask(ChatDoctor(engine=engine).bind_tools([lookup, dose]), way)
    assert [(call["name"], call["args"], call["id"]) for call in message.tool_calls] == [
        ("lookup", {"name": "gout 痛風"}, "call-1"),
        ("dose", {"weight": 70.5}, "call-2"),
    ]
    assert message.content == "I look it up."
    assert message.additional_kwargs["reasoning_content"] == "Gout, or not?"
    assert message.usage_metadata["total_tokens"] == 14
    kinds = [block["type"] for block in message.content_blocks]
    assert kinds[0] == "reasoning"
    assert "text" in kinds


@WAYS
async def test_standard_blocks(way):
    calls = (CALL, ToolCall("dose", {"weight": 70.5}, "call-2"))
    engine = ScriptedEngine(ChatReply("I look.", "tool_calls", Usage(5, 9), "x", calls, reasoning="Gout?"))
    message = await ask(ChatDoctor(engine=engine, output_version="v1").bind_tools([lookup, dose]), way)
    blocks = [{k: v for k, v in block.items() if k != "index"} for block in message.content]
    assert blocks == [
        {"type": "reasoning", "reasoning": "Gout?"},
        {"type": "text", "text": "I look."},
        {"type": "tool_call", "name": "lookup", "args": {"name": "gout 痛風"}, "id": "call-1"},
        {"type": "tool_call", "name": "dose", "args": {"weight": 70.5}, "id": "call-2"},
    ]
    assert [call["id"] for call in message.tool_calls] == ["call-1", "call-2"]


@pytest.mark.parametrize("way", ["invoke", "stream", "ainvoke", "astream"])
@pytest.mark.parametrize("version", [None, "v1"])
async def test_a_refusal(way, version):
    engine = ScriptedEngine(ChatReply("", "stop", Usage(5, 2), "x", refusal="I cannot."))
    message = await ask(ChatDoctor(engine=engine, output_version=version), way)
    (block,) = message.content
    # langchain-core before 1.7.5 does not know the kind
    found = block.get("value", block)
    assert (found["type"], found["refusal"]) == ("refusal", "I cannot.")
    talk = ChatDoctor(engine=ScriptedEngine("Why?"))
    assert talk.invoke([HumanMessage("Hi"), message, HumanMessage("Please.")]).content == "Why?"
    assert talk.engine.calls[0].messages[2]["content"] == "I cannot."


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "batch"])
async def test_what_is_no_json_is_an_invalid_call(way):
    message = await ask(ChatDoctor(engine=ScriptedEngine(BROKEN)).bind_tools([lookup]), way)
    assert message.tool_calls == []
    assert message.invalid_tool_calls == [
        {
            "type": "invalid_tool_call",
            "name": "lookup",
            "args": '{"name": ',
            "id": "call-9",
            "error": "no JSON",
        }
    ]


def test_what_is_no_json_in_a_stream():
    broken = ChatReply(
        "", "tool_calls", Usage(1, 1), "x", (), (InvalidToolCall("lookup(gout)", "no JSON", "f", "1"),)
    )
    chunks = list(ChatDoctor(engine=ScriptedEngine(broken)).stream("Hi", tools=[lookup]))
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole += chunk
    assert whole.tool_calls == []
    assert [(call["args"], call["id"]) for call in whole.invalid_tool_calls] == [("lookup(gout)", "1")]


@pytest.mark.parametrize(
    ("choice", "want"),
    [
        (None, "auto"),
        ("auto", "auto"),
        ("any", "required"),
        (True, "required"),
        ("required", "required"),
        ("lookup", "lookup"),
        ({"type": "function", "function": {"name": "lookup"}}, "lookup"),
    ],
)
def test_the_choice_reaches_the_engine(choice, want):
    engine = ScriptedEngine(CALL)
    ChatDoctor(engine=engine).bind_tools([lookup, dose], tool_choice=choice).invoke("Hi")
    assert engine.calls[0].tool_choice == want


def test_no_call_wanted_and_no_tools():
    engine = ScriptedEngine("Rest.")
    assert ChatDoctor(engine=engine).bind_tools([lookup], tool_choice="none").invoke("Hi").content == "Rest."
    assert ChatDoctor(engine=engine).bind_tools([]).invoke("Hi").content == "Rest."
    assert [call.tool_choice for call in engine.calls] == ["none", "auto"]
    assert engine.calls[1].tools == ()


def test_settings_are_bound_along(script):
    llm = ChatDoctor(engine=script)
    llm.bind_tools([lookup], temperature=0.3, seed=4, stop=["x"]).invoke("Hi")
    sampling = script.calls[0].sampling
    assert (sampling.temperature, sampling.seed, sampling.stop) == (0.3, 4, ("x",))
    for bound in (
        lambda: llm.bind_tools([lookup], temprature=0.3),
        lambda: llm.with_structured_output({"title": "T", "type": "object"}, temprature=0.3),
    ):
        with pytest.raises(ConfigError, match="did you mean 'temperature'"):
            bound()
    with pytest.raises(ConfigError, match="tool_choice to be"):
        llm.bind_tools([lookup], tool_choice="other")
    with pytest.raises(ConfigError, match="given twice"):
        llm.bind_tools([lookup, lookup]).invoke("Hi")


def test_tools_come_back_to_the_model():
    engine = ScriptedEngine([CALL, "It may be gout."])
    llm = ChatDoctor(engine=engine).bind_tools([lookup])
    said = [HumanMessage("My toe hurts.")]
    said.append(llm.invoke(said))
    said.append(lookup.invoke(said[-1].tool_calls[0]))
    assert llm.invoke(said).content == "It may be gout."
    assistant, answer = engine.calls[1].messages[-2:]
    assert assistant["tool_calls"] == [
        {
            "type": "function",
            "id": "call-1",
            "function": {"name": "lookup", "arguments": {"name": "gout 痛風"}},
        }
    ]
    assert (answer["role"], answer["content"], answer["tool_call_id"]) == (
        "tool",
        "about gout 痛風",
        "call-1",
    )


def test_what_was_no_json_is_told_to_the_model():
    engine = ScriptedEngine([BROKEN, "Sorry."])
    llm = ChatDoctor(engine=engine).bind_tools([lookup])
    said = [HumanMessage("Hi"), llm.invoke("Hi"), ToolMessage("That is no JSON.", tool_call_id="call-9")]
    assert llm.invoke(said).content == "Sorry."
    assert engine.calls[1].messages[2]["tool_calls"][0]["function"] == {
        "name": "lookup",
        "arguments": '{"name": ',
    }
    with pytest.raises(DataFormatError, match="keep the two together"):
        llm.invoke([HumanMessage("Hi"), AIMessage("x"), ToolMessage("x", tool_call_id="call-9")])


def test_tokens_are_counted_with_tools(script):
    llm = ChatDoctor(engine=script)
    plain = llm.get_num_tokens_from_messages([HumanMessage("Hi")])
    with_tools = llm.get_num_tokens_from_messages([HumanMessage("Hi")], tools=[lookup])
    assert with_tools > plain
    assert with_tools == llm.bind_tools([lookup]).invoke("Hi").usage_metadata["input_tokens"]


def test_likely_tokens():
    llm = ChatDoctor(engine=ScriptedEngine("Rest well."))
    assert "logprobs" not in llm.invoke("Hi").response_metadata
    whole = llm.invoke("Hi", logprobs=True).response_metadata["logprobs"]
    assert whole == {
        "content": [
            {"token": "Rest", "logprob": 0.0, "top_logprobs": []},
            {"token": " well.", "logprob": 0.0, "top_logprobs": []},
        ]
    }
    chunks = list(ChatDoctor(engine=llm.engine, top_logprobs=2).stream("Hi"))
    added = chunks[0] + chunks[1] + chunks[2]
    assert added.response_metadata["logprobs"] == whole
    assert [call.logprobs for call in llm.engine.calls] == [None, 0, 2]


def test_another_model_for_one_call():
    engine = ScriptedEngine("Rest.", adapters=["triage"])
    llm = ChatDoctor(engine=engine)
    assert llm.invoke("Hi", model="triage").response_metadata["model_name"] == "triage"
    assert list(llm.stream("Hi", model="triage"))[-1].response_metadata["model_name"] == "triage"
    assert llm.invoke("Hi", model="scripted").response_metadata["model_name"] == "scripted"
    assert (
        ChatDoctor(engine=engine, adapter="triage").invoke("Hi").response_metadata["model_name"] == "triage"
    )
    assert [call.adapter for call in engine.calls] == ["triage", "triage", None, "triage"]


def test_a_script_that_does_not_keep_to_the_choice_says_so():
    with pytest.raises(GenerationError, match="to call 'lookup'"):
        ChatDoctor(engine=ScriptedEngine("Hi.")).bind_tools([lookup], tool_choice="lookup").invoke("Hi")
    with pytest.raises(GenerationError, match="no tool may be called"):
        ChatDoctor(engine=ScriptedEngine(CALL)).invoke("Hi")
