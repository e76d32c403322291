"""Answers read by a response template, as `parse_response` of transformers reads them."""

from __future__ import annotations

import copy
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.inference.tools import Piece, TemplateReader

RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "reasoning_content": {"open": "<think>", "close": "</think>", "content": "text"},
        "tool_calls": {
            "open_pattern": r"\s*<call>",
            "close": "</call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": "<|end|>", "content": "text"},
    },
}
TOOL = {
    "type": "function",
    "function": {
        "name": "dose",
        "parameters": {"type": "object", "properties": {"mg": {"type": "integer"}}, "required": ["mg"]},
    },
}
TEXTS = [
    "Rest.",
    "<think>A cold.</think>Rest.",
    '<think>A cold.</think>Take it.<call>{"name": "dose", "arguments": {"mg": 4}}</call>',
    '<call>{"name": "dose", "arguments": {"mg": 4}}</call>\n<call>{"name": "dose", "arguments": {"mg": 5}}</call>',
]


@pytest.fixture(scope="module")
def responding(tokenizer):
    own = copy.deepcopy(tokenizer)
    own.response_template = RESPONSE
    return own


def read(reader, pieces):
    return sum((reader.push(piece) for piece in pieces), Piece()) + reader.finish()


@pytest.mark.parametrize("text", TEXTS)
def test_it_reads_what_parse_response_reads(responding, text):
    reader = TemplateReader(responding, "<|user|>Fever<|end|><|assistant|>", [TOOL])
    got = read(reader, list(text))
    parsed = responding.parse_response(text, prefix="<|user|>Fever<|end|><|assistant|>", tools=[TOOL])
    assert got.text.strip() == parsed.get("content", "")
    assert got.reasoning == parsed.get("reasoning_content", "")
    made = [call["function"] for call in parsed.get("tool_calls", [])]
    assert [{"name": call.name, "arguments": call.arguments} for call in reader.calls] == made
    assert [json.loads(delta.arguments) for delta in got.tool_calls] == [call["arguments"] for call in made]
    assert reader.invalid == []


@given(st.sampled_from(TEXTS), st.lists(st.integers(0, 200), max_size=6))
def test_the_cut_does_not_matter(responding, text, places):
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    pieces = [text[start:end] for start, end in pairwise(edges)]
    assert read(TemplateReader(responding, "", [TOOL]), pieces) == read(
        TemplateReader(responding, "", [TOOL]), [text]
    )


@pytest.mark.parametrize("text", ['<call>{"name": }</call>More', '<call>{"arguments": {}}</call>', "<call>"])
def test_what_is_no_call_is_an_invalid_one(responding, text):
    reader = TemplateReader(responding, "", [TOOL])
    got = read(reader, list(text))
    assert reader.calls == []
    assert len(reader.invalid) == len(got.tool_calls) == 1
    assert reader.invalid[0].error


def test_a_thought_that_the_prompt_begins(responding):
    reader = TemplateReader(responding, "<|assistant|><think>", [TOOL])
    assert reader.thinks
    assert reader.push("A cold.") == Piece(reasoning="A cold.")
    reader.push("</think>Rest.")
    assert not reader.thinks


def test_without_tools_a_call_is_text(responding):
    reader = TemplateReader(responding, "")
    assert "dose" in read(reader, [TEXTS[3]]).text
    assert reader.calls == []


def test_an_engine_with_such_a_tokenizer(model, responding):
    pytest.importorskip("llguidance")
    engine = LocalEngine.of(model, responding)
    asked = ({"role": "user", "content": "Fever"},)
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    reply = engine.generate(ChatRequest(asked, Sampling(max_tokens=40), response_schema=schema))
    assert set(json.loads(reply.text)) == {"a"}
    plain = engine.generate(ChatRequest(asked, Sampling(max_tokens=12)))
    assert "".join(d.text for d in engine.stream(ChatRequest(asked, Sampling(max_tokens=12)))) == plain.text
