"""Answers of a model that was never trained, held to a schema."""

from __future__ import annotations

import json
import re

import pytest

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

pytest.importorskip("llguidance")

SCHEMAS = {
    "object": {
        "type": "object",
        "properties": {
            "complaint": {"type": "string"},
            "days": {"type": "integer", "minimum": 0, "maximum": 60},
            "fever": {"type": "boolean"},
            "severity": {"enum": ["mild", "moderate", "severe"]},
        },
        "required": ["complaint", "days", "fever", "severity"],
    },
    "nested": {
        "type": "object",
        "properties": {
            "symptoms": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "since": {"type": ["string", "null"]}},
                    "required": ["name", "since"],
                },
            },
            "note": {"anyOf": [{"type": "string"}, {"type": "number"}]},
        },
        "required": ["symptoms"],
    },
    "references": {
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name", "children"],
            }
        },
        "$ref": "#/$defs/Node",
    },
    "pattern": {
        "type": "object",
        "properties": {"date": {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}},
        "required": ["date"],
    },
    "any object": {},
    "array": {"type": "array", "items": {"type": "number"}, "minItems": 2},
    "optional": {
        "type": "object",
        "properties": {
            "a": {"type": "string"},
            "b": {"type": "object", "properties": {"c": {"type": "string"}}},
        },
    },
    "mapping": {"type": "object", "additionalProperties": {"type": "integer"}},
}


def asked(schema, words="I have a sore throat.", **settings):
    return ChatRequest(({"role": "user", "content": words},), Sampling(**settings), response_schema=schema)


TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool, "null": type(None)}


def satisfies(value, schema, root):
    """JSON Schema, as far as the schemas above go."""
    if "$ref" in schema:
        return satisfies(value, root["$defs"][schema["$ref"].split("/")[-1]], root)
    if "anyOf" in schema:
        return any(satisfies(value, other, root) for other in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema.get("type")
    if kind == "object":
        named = schema.get("properties", {})
        other = schema.get("additionalProperties", {})
        return (
            isinstance(value, dict)
            and set(schema.get("required", ())) <= set(value)
            and all(satisfies(item, named.get(key, other), root) for key, item in value.items())
        )
    if kind == "array":
        good = isinstance(value, list) and len(value) >= schema.get("minItems", 0)
        return good and all(satisfies(item, schema.get("items", {}), root) for item in value)
    if kind is None:
        return True
    kinds = [kind] if isinstance(kind, str) else kind
    if not any(isinstance(value, TYPES[one]) for one in kinds) or (value is True and "boolean" not in kinds):
        return False
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return False
    return "minimum" not in schema or schema["minimum"] <= value <= schema["maximum"]


def check(schema, text):
    value = json.loads(text)
    assert satisfies(value, schema or {"type": "object"}, schema), text


def test_the_check_itself():
    schema = SCHEMAS["references"]
    assert satisfies({"name": "", "children": [{"name": "x", "children": []}]}, schema, schema)
    assert not satisfies({"name": "", "children": [{"name": "x"}]}, schema, schema)
    assert not satisfies(
        {"complaint": "", "days": 61, "fever": True, "severity": "mild"}, SCHEMAS["object"], {}
    )


@pytest.mark.parametrize("name", SCHEMAS)
@pytest.mark.parametrize("settings", [{}, {"temperature": 1.5, "seed": 1}, {"temperature": 3.0, "seed": 2}])
@pytest.mark.parametrize("tokens", [96, 200])
def test_json_is_valid_whatever_the_model_and_the_budget(engine, name, settings, tokens):
    reply = engine.generate(asked(SCHEMAS[name], max_tokens=tokens, **settings))
    check(SCHEMAS[name], reply.text)
    assert reply.usage.output_tokens <= tokens


def test_constrained_and_free_rows_share_a_batch(engine, ask):
    requests = [
        asked(SCHEMAS["object"], max_tokens=120),
        ask(max_tokens=12),
        asked(SCHEMAS["nested"], "Fever", max_tokens=100, temperature=1.0, seed=4),
        ask("Fever", max_tokens=30, temperature=1.3, seed=2, frequency_penalty=0.5),
        asked({}, "pain", max_tokens=64, repetition_penalty=1.3),
    ]
    alone = [engine.generate(request) for request in requests]
    assert engine.generate_batch(requests) == alone
    assert engine.generate_batch(requests[::-1]) == alone[::-1]


def test_the_stream_says_the_same(engine):
    request = asked(SCHEMAS["nested"], max_tokens=100)
    deltas = list(engine.stream(request))
    reply = engine.generate(request)
    assert "".join(delta.text for delta in deltas) == reply.text
    assert deltas[-1].finish_reason == reply.finish_reason


def test_an_answer_that_nothing_can_follow_ends_without_an_end_token(engine):
    schema = {"type": "object", "properties": {"ok": {"const": True}}, "required": ["ok"]}
    reply = engine.generate(asked(schema, max_tokens=60))
    assert json.loads(reply.text) == {"ok": True}
    assert reply.finish_reason == "stop"


def test_an_answer_brought_to_its_end_says_that_it_ran_out_of_tokens(engine):
    schema = {"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1}
    reply = engine.generate(asked(schema, max_tokens=24))
    assert json.loads(reply.text)
    assert reply.finish_reason == "length"


def test_a_budget_that_cannot_hold_an_answer_is_refused(engine):
    with pytest.raises(ConfigError, match=r"max_tokens.*at least \d+ tokens.*found 5"):
        engine.generate(asked(SCHEMAS["object"], max_tokens=5))


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"type": "array", "uniqueItems": True}, "'uniqueItems'"),
        ({"not": {"type": "string"}}, "'not'"),
        ({"if": {}, "then": {}, "type": "object"}, "'if'"),
        ({"type": "array", "contains": {}}, "'contains'"),
        ({"type": "strin"}, "strin"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "string", "format": "shoe-size"}, "shoe-size"),
        ({"$ref": "https://example.org/schema.json"}, r"example\.org"),
        ({"type": "object", "default": {1, 2}}, "TypeError"),
    ],
)
def test_what_a_grammar_cannot_express_is_refused_by_name(engine, schema, says, forwards):
    with pytest.raises(ConfigError, match=says) as caught:
        engine.generate(asked(schema, max_tokens=50))
    # The grammar that was made of it is nothing that the caller wrote.
    assert "%json" not in str(caught.value)
    assert forwards == []


def test_keys_that_are_no_strings_are_written_as_strings(engine):
    schema = {"type": "object", "properties": {1: {"const": 2}, "b": {"const": 3}}, "required": ["1", "b"]}
    assert json.loads(engine.generate(asked(schema, max_tokens=50)).text) == {"1": 2, "b": 3}


def test_a_faulty_schema_fails_its_own_request_only(engine, ask):
    requests = [asked({"not": {}}, max_tokens=8), ask(max_tokens=4)]
    first, second = engine.generate_batch(requests, return_exceptions=True)
    assert isinstance(first, ConfigError)
    assert second == engine.generate(ask(max_tokens=4))


def test_a_tokenizer_that_tells_nothing_about_its_tokens(model):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({word: at for at, word in enumerate(["a", "b", "?"])}, unk_token="?"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    other = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="a", unk_token="?")
    engine = LocalEngine.of(model, other)
    with pytest.raises(ModelFormatError, match="tokens"):
        engine.generate(asked({}, "a b", max_tokens=8))


def test_without_the_library_it_is_named(model, tokenizer, monkeypatch):
    import sys

    from chatdoctor_hub.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"'llguidance'.*chatdoctor-hub\[local\]"):
        LocalEngine.of(model, tokenizer).generate(asked({}, max_tokens=40))
