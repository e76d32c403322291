"""Reading answers: what is made of them does not depend on how they are cut."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.inference.tools import OWN_FORM, AnswerReader, Piece, Thinking, ToolForm

BARE = ToolForm("", None, "", '{"name": "', '", "parameters": ', "}", "name", "parameters")
LIST = ToolForm("[TOOL_CALLS][", ", ", "]", '{"name": "', '", "arguments": ', "}")
OUTSIDE = ToolForm("<function=", "</function><function=", "</function>", "", ">", "", None, None)
FORMS = {"own": OWN_FORM, "bare": BARE, "list": LIST, "outside": OUTSIDE}
NAMES = ["dose", "stop"]


def read(form, pieces, thinking=None):
    reader = AnswerReader(form, NAMES, thinking=thinking)
    got = sum((reader.push(piece) for piece in pieces), Piece()) + reader.finish()
    joined: dict[int, list] = {}
    for delta in got.tool_calls:
        entry = joined.setdefault(delta.index, [None, None, ""])
        assert (delta.id is None) == (entry[0] is not None), "the id comes with the first piece"
        entry[0], entry[1] = delta.id or entry[0], delta.name or entry[1]
        entry[2] += delta.arguments
    return got.text, got.reasoning, joined, reader.calls, reader.invalid


def cuts(text, places):
    edges = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 999) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
arguments = st.dictionaries(st.text(max_size=8), json_values, max_size=4)
calls = st.lists(st.tuples(st.sampled_from(NAMES), arguments), min_size=1, max_size=3)
places = st.lists(st.integers(0, 2000), max_size=12)


@settings(max_examples=60)
@given(st.sampled_from(sorted(FORMS)), calls, places, st.booleans())
def test_calls_come_back_however_the_text_is_cut(name, made, where, ascii_only):
    form = FORMS[name]
    made = made[:1] if form.between is None else made
    text = (
        form.write(made) if not ascii_only else form.write([(n, json.loads(json.dumps(a))) for n, a in made])
    )
    words, _, joined, read_calls, invalid = read(form, cuts(text, where))
    assert [(call.name, dict(call.arguments)) for call in read_calls] == made
    assert (words, invalid) == ("", [])
    assert [(name, json.loads(written)) for _, name, written in joined.values()] == made
    assert len({call.id for call in read_calls}) == len(made)


junk = st.lists(
    st.sampled_from(
        ["<tool_call>", "</tool_call>", "[TOOL_CALLS][", "]", "<function=", "</function>", ">", "{", "}", '"', "\\",
         '{"name": "dose", "arguments": {}}', '"name"', ": ", ", ", "dose", "arguments", "\n", " ", "<", "</", "think",
         "<think>", "</think>", ";", "text", "<|python_tag|>", "null", '{"a": 1}']
    ),
    max_size=14,
).map("".join)  # fmt: skip


@settings(max_examples=300)
@given(
    st.sampled_from(sorted(FORMS)), junk, places, st.sampled_from([None, Thinking(), Thinking(begun=True)])
)
def test_whatever_a_model_writes_is_read_the_same_in_any_pieces(name, text, where, thinking):
    whole = read(FORMS[name], [text], thinking)
    assert read(FORMS[name], cuts(text, where), thinking) == whole
    assert read(FORMS[name], list(text), thinking) == whole


@given(st.text(max_size=60), places)
def test_text_without_marks_is_text(text, where):
    if "<tool_call>" not in text:
        assert read(OWN_FORM, cuts(text, where))[0] == text


@pytest.mark.parametrize(
    ("form", "text", "said"),
    [
        ("own", 'Look.\n<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>\n\nDone.', "Look.\nDone."),
        ("own", 'Look.<tool_call>{"name": "stop"}</tool_call>\n', "Look."),
        ("own", '<tool_call>{"name": "stop"}</tool_call>\n<tool_call>{"name": "stop"}</tool_call> So.', "So."),
        ("own", 'a < b and <tool', "a < b and <tool"),
        ("bare", '{"diagnosis": "none"}', '{"diagnosis": "none"}'),
        ("bare", '{"name": "somebody", "parameters": {}}', '{"name": "somebody", "parameters": {}}'),
        ("bare", '{"name": "do', '{"name": "do'),
        ("bare", 'See {"name": "stop"}', 'See {"name": "stop"}'),
    ],
)  # fmt: skip
def test_what_is_said(form, text, said):
    assert read(FORMS[form], list(text))[0] == said


@pytest.mark.parametrize(
    "text",
    [
        '<|python_tag|>{"name": "dose", "parameters": {"a": 1}}',
        '{"name": "dose", "parameters": {"a": 1}}',
        '{"type": "function", "name": "dose", "parameters": {"a": 1}}',
        '{"parameters": {"a": 1}, "name": "dose"}',
        '{"name": "dose", "arguments": "{\\"a\\": 1}"}',
        '<tool_call>{"name": "dose", "arguments": {"a": 1}}</tool_call>',
        '<tool_call>{"type": "function", "function": {"name": "dose", "arguments": {"a": 1}}}</tool_call>',
    ],
)
def test_spellings_of_one_call(text):
    said, _, joined, made, invalid = read(BARE, list(text))
    assert [(call.name, call.arguments) for call in made] == [("dose", {"a": 1})]
    assert (said, invalid) == ("", [])
    assert json.loads(joined[0][2]) == {"a": 1}
    assert joined[0][1] == "dose"


def test_several_bare_calls():
    text = '{"name": "dose", "parameters": {"a": 1}}; {"name": "stop", "parameters": {}}\n{"name": "stop"}'
    assert [call.name for call in read(BARE, list(text))[3]] == ["dose", "stop", "stop"]


@pytest.mark.parametrize(
    ("text", "name", "error"),
    [
        ('<tool_call>{"name": "dose", "arguments": {"a": }}</tool_call>', "dose", "none"),
        ('<tool_call>{"name": "dose", "arguments": {"a": 1', "dose", "ends within"),
        (
            '<tool_call>{"name": "dose", "arguments": {"a": NaN}}</tool_call>',
            "dose",
            "a value that JSON does not",
        ),
        ('<tool_call>{"name": "dose", "arguments": [1]}</tool_call>', "dose", "another value"),
        ('<tool_call>{"arguments": {}}</tool_call>', None, "name of a tool"),
        ("<tool_call>dose(a=1)</tool_call>", None, "none"),
        ('<tool_call>{"name": "dose", "arguments": {"a": 1}</tool_call>', "dose", "ends within"),
        ('<tool_call>{"name": "dose", "arguments": {}, "arguments": {"a": 1}}</tool_call>', "dose", "twice"),
        ("<tool_call>", None, "ends within"),
    ],
)
def test_what_is_no_call_is_an_invalid_one(text, name, error):
    said, _, joined, made, invalid = read(OWN_FORM, list(text))
    assert (said, made) == ("", [])
    assert [item.name for item in invalid] == [name]
    assert error in invalid[0].error
    assert "dose(" not in invalid[0].error
    assert list(joined) == [0]


def test_a_good_call_after_a_bad_one():
    text = '<tool_call>{"name": }</tool_call><tool_call>{"name": "stop", "arguments": {}}</tool_call>'
    _, _, joined, made, invalid = read(OWN_FORM, list(text))
    assert [call.name for call in made] == ["stop"]
    assert len(invalid) == 1
    assert made[0].id != invalid[0].id
    assert set(joined) == {0, 1}


@pytest.mark.parametrize(
    ("text", "begun", "thought", "said"),
    [
        ("<think>\nIt is a cold.\n</think>\n\nRest.", False, "It is a cold.", "Rest."),
        ("It is a cold.</think>Rest.", True, "It is a cold.", "Rest."),
        ("Rest. <think>no</think>", False, "", "Rest. <think>no</think>"),
        ("<think>It goes on", False, "It goes on", ""),
        ("<thi", False, "", "<thi"),
        ('<think>a</think><tool_call>{"name": "stop", "arguments": {}}</tool_call>', False, "a", ""),
    ],
)
def test_thoughts(text, begun, thought, said):
    got = read(OWN_FORM, list(text), Thinking(begun=begun))
    assert (got[1], got[0]) == (thought, said)
