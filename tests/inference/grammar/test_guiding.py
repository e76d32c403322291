"""Grammars without a model: what is chosen is drawn at random."""

from __future__ import annotations

import json
import random

import pytest

from chatdoctor_hub.errors import ConfigError, GenerationError
from chatdoctor_hub.inference.grammar import Grammars, Guide, call_grammar, narrowed, restrict

pytest.importorskip("llguidance")
torch = pytest.importorskip("torch")

TREE = {
    "type": "object",
    "properties": {
        "left": {"$ref": "#/$defs/Tree"},
        "words": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["words"],
}
DEEP = {"$defs": {"Tree": TREE}, "$ref": "#/$defs/Tree"}
TEXT = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
WIDE = {
    "type": "object",
    "properties": {f"key_{number}": TEXT for number in range(6)},
    "required": ["key_0", "key_5"],
}
LISTS = {"$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}}, "$ref": "#/$defs/L"}


@pytest.fixture(scope="module")
def grammars(tokenizer):
    return Grammars(tokenizer, [2, 3])


def written(tokenizer, grammar, budget, choose):
    """A text of a grammar, every token chosen of those allowed."""
    guide = Guide(grammar.matcher(), budget)
    ids: list[int] = []
    while len(ids) < budget and not guide.finished:
        scores = restrict(torch.zeros(1, len(tokenizer)), [guide])[0]
        allowed = (scores == 0).nonzero().flatten().tolist()
        token = guide.settle(choose(allowed), budget - len(ids))
        assert token in allowed
        guide.matcher.accept(token)
        if token in (2, 3):
            break
        ids.append(token)
    return tokenizer.decode(ids), guide


@pytest.mark.parametrize("schema", [DEEP, WIDE, LISTS, {}, {"type": "array", "items": {}}])
@pytest.mark.parametrize("budget", [70, 90, 150])
def test_every_draw_comes_to_an_end_in_time(tokenizer, grammars, schema, budget):
    for seed in range(12):
        draw = random.Random(seed)
        text, _ = written(tokenizer, grammars.for_schema(schema), budget, draw.choice)
        json.loads(text, strict=True)


def test_brackets_without_end_are_closed_in_time(tokenizer, grammars):
    bracket = tokenizer.convert_tokens_to_ids("[")
    text, guide = written(
        tokenizer, grammars.for_schema(LISTS), 80, lambda ids: bracket if bracket in ids else ids[0]
    )
    assert guide.hurried
    assert json.loads(text)
    assert text.count("[") == 40


def test_what_is_free_is_not_steered(tokenizer, grammars):
    """Far from the end of the budget, the tokens chosen are those written."""
    quote = tokenizer.convert_tokens_to_ids('"')
    text, guide = written(
        tokenizer, grammars.for_schema(WIDE), 400, lambda ids: quote if quote in ids else ids[0]
    )
    assert not guide.hurried
    assert json.loads(text)


def test_a_wrong_token_is_refused_without_the_text(grammars):
    matcher = grammars.for_schema(WIDE).matcher()
    with pytest.raises(GenerationError) as caught:
        matcher.accept(40)
    assert "state" not in str(caught.value)


def test_a_grammar_is_made_once(grammars):
    assert grammars.for_schema(WIDE) is grammars.for_schema(json.loads(json.dumps(WIDE)))
    assert grammars.for_schema(WIDE) is not grammars.for_schema(DEEP)


def test_marks_that_are_tokens_are_written_as_tokens(tokenizer):
    import copy

    own = copy.deepcopy(tokenizer)
    own.add_tokens(["<tool_call>", "</tool_call>"])
    around = ("<tool_call>\n", "", "\n</tool_call>")
    grammar = Grammars(own, [2, 3]).of(
        lambda vocabulary: call_grammar(vocabulary, [("{", {"type": "object"}, "}")], around, 1), "tools"
    )
    text, guide = written(own, grammar, 60, min)
    assert text.startswith("<tool_call>\n{{")
    assert text.endswith("}}\n</tool_call>")
    assert guide.finished


def test_rows_without_a_grammar_keep_their_scores(tokenizer, grammars):
    scores = torch.randn(3, len(tokenizer) + 28, generator=torch.Generator().manual_seed(1))
    guide = Guide(grammars.for_schema(WIDE).matcher(), 200)
    got = restrict(scores, [None, guide, None])
    assert torch.equal(got[[0, 2]], scores[[0, 2]])
    brace = tokenizer.convert_tokens_to_ids("{")
    assert got[1, brace] == scores[1, brace]
    assert bool(torch.isinf(got[1, len(tokenizer) :]).all()), "scores beyond the vocabulary are of no token"
    assert restrict(scores, [None] * 3) is scores


@pytest.mark.parametrize(
    ("schema", "closed"),
    [
        ({"type": "object", "properties": {"a": {}}}, True),
        ({"type": "object", "properties": {"a": {}}, "additionalProperties": True}, False),
        ({"type": "object", "properties": {"a": {}}, "allOf": [{"properties": {"b": {}}}]}, False),
        ({"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["b"]}, {}]}, False),
        ({"type": "object", "properties": {"properties": {"type": "string"}}}, True),
        ({"type": "object"}, False),
    ],
)
def test_objects_with_named_properties_get_no_others(schema, closed):
    before = json.dumps(schema)
    assert (narrowed(schema).get("additionalProperties") is False) == closed
    assert json.dumps(schema) == before


def test_names_of_properties_are_no_keywords():
    schema = {
        "type": "object",
        "properties": {"properties": {"type": "object", "properties": {"allOf": {"type": "string"}}}},
    }
    own = narrowed(schema)
    assert own["properties"]["properties"]["additionalProperties"] is False
    assert "additionalProperties" not in own["properties"]
    with pytest.raises(ConfigError, match="found list"):
        narrowed([])
