from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.langchain.knowledge.evidence import Evidence
from chatdoctor_hub.langchain.knowledge.reading import chosen, narrowed, sentences_of, shares

SENTENCES = [
    "Migraine is a disorder of the nervous system.",
    "Light may hurt the eyes during an attack.",
    "It was described in antiquity.",
    "Many people rest in a dark room.",
    "Its name comes from Greek.",
]


def passage(text):
    return Evidence("table:1", "Migraine", text, "made.csv line 2", score=1.0)


def test_short_passages_are_read_whole():
    whole = passage("Short.")
    assert narrowed(whole, "anything", 100) is whole


def test_the_sentences_that_matter_are_kept_in_their_order():
    read = narrowed(passage(" ".join(SENTENCES)), "I rest in the dark, for light hurts my eyes", 90)
    assert read.text == f"{SENTENCES[1]} … {SENTENCES[3]}"
    assert (read.id, read.title, read.score) == ("table:1", "Migraine", 1.0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(SENTENCES), max_size=12), st.integers(50, 400), st.text(max_size=40))
def test_what_is_read_is_the_passages_own_and_short_enough(sentences, most, question):
    whole = passage(" ".join(sentences))
    text = narrowed(whole, question, most).text
    assert len(text) <= most
    assert all(sentence in whole.text for sentence in text.split(" … "))


def test_a_sentence_that_is_too_long_is_cut():
    text = narrowed(passage("word " * 500), "question", 60).text
    assert len(text) <= 60
    assert text.endswith("…")
    assert all(len(sentence) <= 400 for sentence in sentences_of("word " * 500 + "x" * 1000))


def test_a_model_chooses_by_number():
    whole = passage(" ".join(SENTENCES))
    assert chosen(whole, "2, 4", 500).text == f"{SENTENCES[1]} … {SENTENCES[3]}"
    assert chosen(whole, "Sentences 4 and 2, and 4.", 500).text == f"{SENTENCES[1]} … {SENTENCES[3]}"
    assert chosen(whole, "1 2", 500).text == f"{SENTENCES[0]} {SENTENCES[1]}"
    assert chosen(whole, "4 2", 40).text == SENTENCES[3]
    assert chosen(whole, "0", 500) is None


@pytest.mark.parametrize("answer", ["", "Light hurts.", "99", "[77] 123456789012345678901234567890"])
def test_an_answer_without_a_number_of_a_sentence(answer):
    with pytest.raises(ValueError):
        chosen(passage(" ".join(SENTENCES)), answer, 500)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5_000), max_size=8), st.integers(1, 6_000))
def test_room_is_shared(lengths, most):
    passages = [passage("x" * length) for length in lengths]
    given_room = shares(passages, most)
    assert sum(given_room) <= most
    assert all(room <= length for room, length in zip(given_room, lengths, strict=True))
    if sum(lengths) <= most:
        assert given_room == lengths
    elif lengths:
        assert min(length - room for length, room in zip(lengths, given_room, strict=True)) >= 0
        assert sum(given_room) > most - len(lengths)


def test_what_calls_for_help_at_once_is_always_read():
    urgent = "Signs that need help at once: a stiff neck; sudden pain."
    row = replace(passage(" ".join([urgent, *SENTENCES])), urgent=urgent)
    assert narrowed(row, "light hurts my eyes", 110).text == f"{urgent} … {SENTENCES[1]}"
    assert chosen(row, "3", 500).text == f"{urgent} … {SENTENCES[1]}"
    assert chosen(row, "1 3", 500).text == f"{urgent} … {SENTENCES[1]}"
