"""Forms that refer to themselves."""

from __future__ import annotations

from typing import TypedDict

import pytest
from langchain_core.tools import StructuredTool
from pydantic import BaseModel

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ChatRequest, Sampling, ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.langchain.tools import to_tools


class Cause(BaseModel):
    """Why something is as it is."""

    name: str
    causes: list[Cause]


class Case(BaseModel):
    """What ails somebody."""

    cause: Cause


class Severity(BaseModel):
    """How bad it is."""

    degree: int


class Endless(TypedDict):
    """A form without end."""

    again: list[Endless]


def parameters_of(tool, strict=None):
    return to_tools([tool], strict)[0]["function"]["parameters"]


def explain(cause: Cause) -> str:
    """Explain a cause."""
    return cause.name


@pytest.mark.parametrize("tool", [Cause, Case, StructuredTool.from_function(explain)])
@pytest.mark.parametrize("strict", [None, True])
def test_a_tool_keeps_what_refers_to_itself(tool, strict):
    """LangChain's own way puts {} there, so that a model may write anything."""
    schema = parameters_of(tool, strict)
    assert schema["type"] == "object"
    assert set(schema["properties"]) <= {"name", "causes", "cause"}
    inner = schema["$defs"]["Cause"]
    assert inner["properties"]["causes"]["items"] == {"$ref": "#/$defs/Cause"}
    assert [form.get("additionalProperties") for form in (schema, inner)] == [False if strict else None] * 2


def test_one_that_ends_somewhere_is_written_in_one_piece():
    class Pair(BaseModel):
        """Two of them."""

        first: Severity
        second: Severity

    schema = parameters_of(Pair)
    assert "$defs" not in schema
    assert schema["properties"]["second"]["properties"]["degree"] == {"type": "integer"}


def test_a_model_is_kept_to_it(engine):
    talk = ({"role": "user", "content": "Why?"},)
    for seed in range(3):
        sampling = Sampling(temperature=1.0, seed=seed, max_tokens=150)
        asked = ChatRequest(talk, sampling, "training", response_schema=parameters_of(Case))
        assert Case.model_validate_json(engine.generate(asked).text)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_one_that_cannot_be_written_down_is_refused(method):
    with pytest.raises(ConfigError, match="Expected Endless to be a form that can be written down"):
        ChatDoctor(engine=ScriptedEngine("x")).with_structured_output(Endless, method=method)
