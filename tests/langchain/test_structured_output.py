"""Answers of a given form, by all three methods, alone and beside tools."""

from __future__ import annotations

import json
import traceback
from dataclasses import replace
from typing import TypedDict

import pytest
from langchain_core.exceptions import ModelError, OutputParserException
from pydantic import BaseModel
from pydantic.v1 import BaseModel as BaseModelV1

from chatdoctor_hub.errors import ChatDoctorError, ConfigError, GenerationError
from chatdoctor_hub.inference import ChatReply, InvalidToolCall, ScriptedEngine, ToolCall, Usage
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.prompts import PromptPair


class Triage(BaseModel):
    """How urgent it is."""

    urgent: bool
    why: str


class TriageV1(BaseModelV1):
    """How urgent it is."""

    urgent: bool
    why: str


class TriageDict(TypedDict):
    """How urgent it is."""

    urgent: bool
    why: str


JSON_SCHEMA = {**Triage.model_json_schema(), "title": "TriageJson"}
FOUND = {"urgent": True, "why": "chest pain"}
TEXT = '{"urgent": true, "why": "chest pain"}'
METHODS = ("json_schema", "function_calling", "json_mode")
SCHEMAS = pytest.mark.parametrize("schema", [Triage, TriageV1, TriageDict, JSON_SCHEMA], ids=str)


def engine_for(method, schema=Triage):
    name = schema["title"] if isinstance(schema, dict) else schema.__name__
    return ScriptedEngine(ToolCall(name, FOUND, "call-1") if method == "function_calling" else TEXT)


def as_dict(found):
    return found if isinstance(found, dict) else found.dict()


@SCHEMAS
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True, False])
async def test_every_method_with_every_kind_of_schema(method, schema, strict):
    engine = engine_for(method, schema)
    llm = ChatDoctor(engine=engine).with_structured_output(schema, method=method, strict=strict)
    found = [llm.invoke("Hi"), await llm.ainvoke("Hi"), list(llm.stream("Hi"))[-1], *llm.batch(["Hi"])]
    assert [as_dict(one) for one in found] == [FOUND] * 4
    kind = schema if isinstance(schema, type) and schema is not TriageDict else dict
    assert all(isinstance(one, kind) for one in found)
    asked = engine.calls[0]
    if method == "function_calling":
        assert asked.tool_choice == asked.tool_names[0]
        assert asked.response_schema is None
    elif method == "json_mode":
        assert asked.response_schema == {}
    else:
        assert asked.response_schema["properties"]["urgent"]["type"] == "boolean"
        assert asked.tools == ()


@pytest.mark.parametrize("method", METHODS)
def test_the_raw_message_too(method):
    raw = ChatDoctor(engine=engine_for(method)).with_structured_output(
        Triage, method=method, include_raw=True
    )
    found = raw.invoke("Hi")
    assert (found["parsed"], found["parsing_error"]) == (Triage(**FOUND), None)
    assert found["raw"].usage_metadata
    cut = ScriptedEngine(ChatReply('{"urgent": tr', "length", Usage(1, 1), "x"))
    found = ChatDoctor(engine=cut).with_structured_output(Triage, include_raw=True).invoke("Hi")
    assert found["parsed"] is None
    assert isinstance(found["parsing_error"], OutputParserException)


def test_what_was_cut_off_is_not_completed():
    """LangChain's own parser would make {"urgent": True} of it, and the caller would never know."""
    cut = ScriptedEngine(ChatReply('{"urgent": true, "why": "che', "length", Usage(1, 1), "x"))
    for schema in (Triage, TriageDict):
        with pytest.raises(OutputParserException, match="cut off"):
            ChatDoctor(engine=cut).with_structured_output(schema).invoke("Hi")
    lost = ScriptedEngine(
        ChatReply("", "length", Usage(1, 1), "x", (ToolCall("Triage", {"urgent": True}, "1"),))
    )
    with pytest.raises(OutputParserException, match="cut off"):
        ChatDoctor(engine=lost).with_structured_output(Triage, method="function_calling").invoke("Hi")


def test_what_is_of_another_form():
    other = ScriptedEngine('{"urgent": "perhaps", "why": 3}')
    with pytest.raises(OutputParserException, match="faults in: urgent, why") as caught:
        ChatDoctor(engine=other).with_structured_output(Triage).invoke("Hi")
    assert "perhaps" not in str(caught.value)
    broken = ChatReply(
        "", "tool_calls", Usage(1, 1), "x", (), (InvalidToolCall("{", "no JSON", "Triage", "1"),)
    )
    with pytest.raises(OutputParserException, match="found one that is no JSON"):
        ChatDoctor(engine=ScriptedEngine(broken)).with_structured_output(
            Triage, method="function_calling"
        ).invoke("Hi")


@pytest.mark.parametrize("method", METHODS)
def test_errors_hold_nothing_of_the_answer(method):
    """pydantic's and LangChain's own do."""
    call = ToolCall("Triage", {"urgent": "Frau Meier hustet"}, "1")
    text = '{"urgent": "Frau Meier hustet"}'
    engine = ScriptedEngine([call if method == "function_calling" else text])
    with pytest.raises(OutputParserException, match="faults in: urgent, why") as caught:
        ChatDoctor(engine=engine).with_structured_output(Triage, method=method).invoke("Hi")
    told = "".join(traceback.format_exception(caught.value))
    assert "Meier" not in told


class Careless(ScriptedEngine):
    """Says what it says, whatever form is asked for."""

    def generate(self, request):
        return super().generate(replace(request, response_schema=None))


@pytest.mark.parametrize("schema", [Triage, TriageDict, None])
@pytest.mark.parametrize("text", ['{"urgent": true, "why": "che', '{"urgent": true', "Frau Meier hustet"])
def test_what_is_no_whole_json_is_not_completed_either(schema, text):
    """A stop string may end an answer within its JSON, and a server may not know of forms."""
    found = ChatDoctor(engine=Careless(text)).with_structured_output(schema, method="json_mode")
    with pytest.raises(OutputParserException, match="answer that is JSON") as caught:
        found.invoke("Hi")
    assert text not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "array", "items": {"type": "integer"}}, "[1, 2]"),
        ({"enum": ["mild", "severe"]}, '"mild"'),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "null"),
    ],
)
def test_a_schema_of_something_else_than_an_object(schema, text):
    engine = ScriptedEngine(text)
    assert ChatDoctor(engine=engine).with_structured_output(schema).invoke("Hi") == json.loads(text)
    assert engine.calls[0].response_schema == schema


def test_json_in_a_fence_is_read():
    llm = ChatDoctor(engine=Careless(f"```json\n{TEXT}\n```"))
    assert llm.with_structured_output(TriageDict).invoke("Hi") == FOUND


def test_a_refusal_is_an_error_of_both_families():
    engine = ScriptedEngine(lambda _: ChatReply("{}", "stop", Usage(1, 1), "x", refusal="No."))
    with pytest.raises(GenerationError, match="declined") as caught:
        ChatDoctor(engine=engine).with_structured_output(Triage).invoke("Hi")
    assert isinstance(caught.value, ModelError)


def test_any_json_needs_no_schema():
    llm = ChatDoctor(engine=ScriptedEngine(TEXT)).with_structured_output(method="json_mode")
    assert llm.invoke("Answer as JSON.") == FOUND


@pytest.mark.parametrize(
    ("schema", "settings", "says"),
    [
        (Triage, {"method": "yaml"}, "method to be one of json_schema"),
        (None, {}, "Expected a schema"),
        (3, {}, "response_format to be a pydantic class"),
        ({"type": "object"}, {"method": "function_calling"}, "tool 0 to be"),
        (Triage, {"tool_choice": "auto"}, "'tool_choice': leave it out"),
        (Triage, {"temprature": 1}, "did you mean 'temperature'"),
    ],
)
def test_what_cannot_be_asked_for(schema, settings, says):
    with pytest.raises(ConfigError, match=says) as caught:
        ChatDoctor(engine=ScriptedEngine("x")).with_structured_output(schema, **settings)
    assert isinstance(caught.value, (ChatDoctorError, ModelError))


def test_the_safety_prompt_is_there_with_every_method():
    pair = PromptPair.load("chatdoctor@1")
    for method in METHODS:
        engine = engine_for(method)
        ChatDoctor(engine=engine).with_structured_output(Triage, method=method).invoke("Hi")
        assert engine.calls[0].messages[0]["content"] == pair.serving_text


def lookup(name: str) -> str:
    """Look a disease up."""
    return name


class TestBesideTools:
    """The answer is one more tool, and nobody sees it."""

    async def ways(self, llm):
        chunks = list(llm.stream("Hi"))
        whole = chunks[0]
        for chunk in chunks[1:]:
            whole += chunk
        pieces = [chunk async for chunk in llm.astream("Hi")]
        awhole = pieces[0]
        for chunk in pieces[1:]:
            awhole += chunk
        return [llm.invoke("Hi"), await llm.ainvoke("Hi"), whole, awhole, *llm.batch(["Hi"])]

    async def test_the_answer_is_text(self):
        engine = ScriptedEngine(ToolCall("Triage", FOUND, "call-1"))
        llm = ChatDoctor(engine=engine).bind_tools([lookup], response_format=Triage)
        for message in await self.ways(llm):
            assert message.content == TEXT
            assert message.tool_calls == []
            assert message.response_metadata["finish_reason"] == "stop"
        assert engine.calls[0].tool_names == ("lookup", "Triage")
        assert (engine.calls[0].tool_choice, engine.calls[0].response_schema) == ("required", None)

    async def test_another_tool_is_called(self):
        engine = ScriptedEngine(ToolCall("lookup", {"name": "gout"}, "call-1"))
        llm = ChatDoctor(engine=engine).bind_tools([lookup], response_format=Triage)
        for message in await self.ways(llm):
            assert message.content == ""
            assert [call["name"] for call in message.tool_calls] == ["lookup"]
            assert message.response_metadata["finish_reason"] == "tool_calls"

    def test_the_choice_decides_which(self):
        engine = ScriptedEngine([ToolCall("lookup", {"name": "gout"}, "1"), TEXT])
        llm = ChatDoctor(engine=engine)
        llm.bind_tools([lookup], tool_choice="lookup", response_format=Triage).invoke("Hi")
        llm.bind_tools([lookup], tool_choice="none", response_format=Triage).invoke("Hi")
        called, answered = engine.calls
        assert (called.tool_choice, called.response_schema) == ("lookup", None)
        assert (answered.tools, answered.response_schema) == ((), Triage.model_json_schema())

    def test_names_do_not_collide(self):
        def Triage_(x: int) -> int:
            """Another."""
            return x

        Triage_.__name__ = "Triage"
        engine = ScriptedEngine(ToolCall("Triage_answer", FOUND, "1"))
        llm = ChatDoctor(engine=engine).bind_tools([Triage_], response_format=Triage)
        assert llm.invoke("Hi").content == TEXT

    def test_an_answer_that_is_no_object(self):
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "array"}}}
        with pytest.raises(ConfigError, match="found a schema of type 'array'"):
            ChatDoctor(engine=ScriptedEngine("x")).bind_tools([lookup], response_format=form).invoke("Hi")
