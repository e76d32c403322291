from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.langchain.knowledge import lexical_keywords, parse_keywords

TERMS = ("abdominal pain", "vomiting", "fever")


@pytest.mark.parametrize(
    "answer",
    [
        '["abdominal pain", "vomiting", "fever"]',
        '```json\n["abdominal pain", "vomiting", "fever"]\n```',
        'Sure! Here are the search terms:\n["abdominal pain", "vomiting", "fever"]\nGood luck!',
        '{"keywords": ["abdominal pain", "vomiting", "fever"]}',
        "['abdominal pain', 'vomiting', 'fever',]",
        "[abdominal pain, vomiting, fever]",
        "abdominal pain, vomiting, fever",
        "Keywords: abdominal pain, vomiting, fever.",
        "Search terms: abdominal pain; vomiting; fever",
        "- abdominal pain\n- vomiting\n- fever",
        "* abdominal pain\n* Vomiting\n* vomiting\n* fever".replace("Vomiting", "vomiting"),
        "1. abdominal pain\n2) vomiting\n(3) fever",
        "• “abdominal pain”\n• “vomiting”\n• “fever”",
        "**abdominal pain**\n**vomiting**\n**fever**",
        "\n\nabdominal pain\r\n\r\nvomiting\r\n  fever  \n",
        "abdominal pain、vomiting，fever",
        "abdominal pain | vomiting | fever",
        "<think>Keywords? headache, maybe.</think>abdominal pain, vomiting, fever",
        '["abdominal pain", 3, null, "", "vomiting", " ", "fever", "Fever"]',
        "1. abdominal pain, 2. vomiting, 3. fever",
    ],
)
def test_every_way_to_write_a_list_is_read(answer):
    assert parse_keywords(answer) == TERMS


@pytest.mark.parametrize(
    "answer",
    [
        "",
        "   \n ",
        "[]",
        ", , ,",
        "I cannot help with that.",
        "<think>I was cut off while",
        "The patient describes a great many symptoms that began some three weeks ago",
        "1. 2. 3.",
        '["' + "x" * 100 + '"]',
    ],
)
def test_what_cannot_be_read_gives_no_terms(answer):
    assert parse_keywords(answer) == ()


def test_terms_are_capped():
    assert len(parse_keywords(", ".join(f"sign{number}" for number in range(50)), 7)) == 7


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(1, 5))
def test_terms_are_never_empty_nor_twice_nor_too_many(answer, most):
    terms = parse_keywords(answer, most)
    assert len(terms) <= most
    assert all(term == term.strip() and term for term in terms)
    assert len({term.casefold() for term in terms}) == len(terms)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(["cough", "leg pain", "dry skin", "ear wax", "gout"]), unique=True, min_size=1)
)
def test_lists_come_back_as_they_were(terms):
    want = tuple(terms)
    assert parse_keywords(json.dumps(terms)) == want
    assert parse_keywords(", ".join(terms)) == want
    assert parse_keywords("\n".join(f"- {term}" for term in terms)) == want
    assert parse_keywords("\n".join(f"{at}. {term}" for at, term in enumerate(terms, 1))) == want


def test_long_answers_are_read_in_no_time():
    assert parse_keywords("[" * 100_000 + "- " * 100_000) == ()


def test_words_of_meaning_without_a_model():
    assert lexical_keywords("My tummy aches, and I have been vomiting. Vomited twice!") == (
        "tummy",
        "aches",
        "vomiting",
        "twice",
    )
    assert lexical_keywords("") == ()
    assert lexical_keywords("I am not", 3) == ()
    assert len(lexical_keywords("cough fever rash gout", 2)) == 2
