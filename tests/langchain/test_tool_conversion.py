"""Tools, choices and forms in all the ways they are written."""

from __future__ import annotations

from dataclasses import dataclass
from queue import Queue
from typing import TypedDict

import pytest
from langchain_core.tools import tool
from pydantic import BaseModel, ConfigDict, Field
from pydantic.v1 import BaseModel as BaseModelV1

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.langchain.tools import to_choice, to_schema, to_tools


@tool
def lookup(name: str) -> str:
    """Look a disease up."""
    return name


def dose(weight: float) -> float:
    """The dose for a weight.

    Args:
        weight: in kilograms.
    """
    return weight


class Triage(BaseModel):
    """How urgent it is."""

    urgent: bool = Field(description="whether to go at once")


class TriageV1(BaseModelV1):
    """How urgent it is."""

    urgent: bool


class TriageDict(TypedDict):
    """How urgent it is."""

    urgent: bool


JSON_SCHEMA = {
    "title": "Triage",
    "description": "How urgent it is.",
    "type": "object",
    "properties": {"urgent": {"type": "boolean"}},
    "required": ["urgent"],
}
READY = {
    "type": "function",
    "function": {"name": "ready", "parameters": {"type": "object", "properties": {}}},
}


class Strange(BaseModel):
    """Holds what JSON has not."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    queue: Queue


@dataclass
class TriageData:
    """How urgent it is."""

    urgent: bool


class Node(BaseModel):
    """A cause, and what causes it."""

    name: str
    causes: list[Node] = []


def test_every_kind_of_tool():
    made = to_tools([lookup, dose, Triage, TriageV1, TriageDict, JSON_SCHEMA, READY])
    assert [one["function"]["name"] for one in made] == [
        "lookup",
        "dose",
        "Triage",
        "TriageV1",
        "TriageDict",
        "Triage",
        "ready",
    ]
    for one in made[:-1]:
        assert one["type"] == "function"
        assert one["function"]["description"]
        assert one["function"]["parameters"]["type"] == "object"
    assert to_tools(made) == made
    assert to_tools([]) == []


def test_strict_closes_the_schemas():
    function = to_tools([lookup], strict=True)[0]["function"]
    assert function["strict"] is True
    assert function["parameters"]["additionalProperties"] is False
    assert to_tools([READY], strict=True)[0]["function"]["strict"] is True
    assert "strict" not in READY["function"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("lookup", "tool 0 to be a function"),
        (3, "tool 0 to be a function"),
        ({"type": "object", "properties": {}}, "tool 0 to be a function"),
        ({"type": "web_search"}, "'web_search'"),
        ({"type": "function", "function": {}}, "with a name"),
    ],
)
def test_what_is_no_tool(given, says):
    with pytest.raises(ConfigError, match=says) as caught:
        to_tools([given])
    assert "\n" not in str(caught.value)


TOOLS = to_tools([lookup, dose])


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (None, None),
        (False, None),
        ("auto", "auto"),
        ("none", "none"),
        ("any", "required"),
        ("required", "required"),
        (True, "required"),
        ("lookup", "lookup"),
        ({"type": "function", "function": {"name": "dose"}}, "dose"),
        ({"type": "tool", "name": "dose"}, "dose"),
        ({"type": "any"}, "required"),
        ({"type": "auto"}, "auto"),
        ({"type": "none"}, "none"),
    ],
)
def test_every_form_of_a_choice(given, want):
    assert to_choice(given, TOOLS) == want


@pytest.mark.parametrize(
    "given", ["another", {"type": "function", "function": {"name": "x"}}, 3, "", {}, 1.5]
)
def test_a_choice_that_does_not_exist(given):
    if given == {}:
        assert to_choice(given, TOOLS) is None
        return
    with pytest.raises(ConfigError, match=r"tool_choice to be auto, none, any, required or .*lookup, dose"):
        to_choice(given, TOOLS)


def test_no_tool_to_choose():
    assert to_choice("auto", []) == "auto"
    with pytest.raises(ConfigError, match="found none bound"):
        to_choice("any", [])


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (Triage, "Triage"),
        (TriageV1, "TriageV1"),
        (TriageDict, "TriageDict"),
        (TriageData, "TriageData"),
        (JSON_SCHEMA, "Triage"),
        ({"type": "json_schema", "json_schema": {"name": "T", "schema": JSON_SCHEMA}}, "T"),
        ({"type": "json_object", "value": JSON_SCHEMA}, "Triage"),
        ({"type": "json_object", "schema": JSON_SCHEMA}, "Triage"),
    ],
)
def test_every_form_of_a_schema(given, name):
    found, schema = to_schema(given)
    assert found == name
    assert schema["properties"]["urgent"]["type"] == "boolean"


def test_forms_that_are_no_schema():
    assert to_schema(None) is None
    assert to_schema({"type": "text"}) is None
    assert to_schema({"type": "json_object"}) == ("answer", {})
    for given in ("json", {"type": "xml"}, 3, {"type": "json_schema"}):
        with pytest.raises(ConfigError, match="response_format to be"):
            to_schema(given)
    with pytest.raises(ConfigError, match="found the class object"):
        to_schema(object)
    with pytest.raises(ConfigError, match="Strange to have a JSON schema"):
        to_schema(Strange)


def test_a_schema_that_refers_to_itself_keeps_its_depth():
    _, schema = to_schema(Node)
    assert schema["$defs"]["Node"]["properties"]["causes"]["items"] == {"$ref": "#/$defs/Node"}
