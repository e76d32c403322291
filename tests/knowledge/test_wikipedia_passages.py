"""Cutting and ranking: nothing is lost, no sentence is torn, nothing unrelated has a score."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.knowledge.wikipedia.passages import (
    bm25,
    clean_prose,
    cut_passages,
    sections_of,
    sentences_of,
)


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        (
            "Dr. Ada saw 3.5 % of them, e.g. Mr. Byte. He left.",
            ["Dr. Ada saw 3.5 % of them, e.g. Mr. Byte.", "He left."],
        ),
        (
            'She said "no." Then she went (see fig. 2). Later.',
            ['She said "no."', "Then she went (see fig. 2).", "Later."],
        ),
        (
            "About 5 mg. of it was given to E. coli. in 1990.",
            ["About 5 mg. of it was given to E. coli. in 1990."],
        ),
        ("嗓子疼。多喝水！好吗？", ["嗓子疼。", "多喝水！", "好吗？"]),
        ("", []),
        ("   ", []),
        ("...", ["..."]),
    ],
)
def test_sentences(paragraph: str, sentences: list[str]) -> None:
    assert sentences_of(paragraph) == sentences


def test_sections_name_their_headings_from_the_outermost_on() -> None:
    extract = (
        "Lead.\n\n\n== Care ==\nAll.\n\n=== Home ===\nRest.\n\n==== Food ====\nSoup.\n\n"
        "== Signs ==\n\n=== Late ===\nPain."
    )
    assert sections_of(extract) == [
        ("", "Lead."),
        ("Care", "All."),
        ("Care > Home", "Rest."),
        ("Care > Home > Food", "Soup."),
        ("Signs > Late", "Pain."),
    ]


def test_sections_without_a_lead_or_without_headings() -> None:
    assert sections_of("== A ==\nText.") == [("A", "Text.")]
    assert sections_of("Text with a == b and\n= one =\n") == [("", "Text with a == b and\n= one =")]
    assert sections_of("") == []


def paragraphs(*lengths: int) -> str:
    """Paragraphs of so many sentences of five words each."""
    return "\n".join(
        " ".join(f"Sentence {at} of paragraph {number}." for at in range(length))
        for number, length in enumerate(lengths)
    )


def sizes(passages: list[str]) -> list[int]:
    return [len(passage.split()) for passage in passages]


def test_a_passage_ends_with_a_paragraph_where_it_can() -> None:
    found = cut_passages(paragraphs(30, 30, 30))
    assert found == paragraphs(30, 30, 30).split("\n")
    assert cut_passages(paragraphs(10, 10, 10)) == [paragraphs(10, 10, 10)]


def test_a_long_paragraph_is_shared_out_between_sentences() -> None:
    found = cut_passages(paragraphs(120))
    assert all(120 <= size <= 250 for size in sizes(found))
    assert all(passage.startswith("Sentence") and passage.endswith(".") for passage in found)


def test_a_crumb_at_the_end_joins_what_is_before_it_if_there_is_room() -> None:
    assert sizes(cut_passages(paragraphs(30, 3))) == [165]
    assert sizes(cut_passages(paragraphs(49, 3))) == [245, 15]


def test_what_is_too_long_to_be_prose_is_cut_all_the_same() -> None:
    assert max(sizes(cut_passages("word " * 5_000))) <= 500
    assert all(len(passage) <= 12_500 for passage in cut_passages("x" * 50_000))
    assert all(len(passage) <= 1_000 for passage in cut_passages("疼" * 50_000))


def test_chinese_is_counted_by_its_letters() -> None:
    found = cut_passages("孩子咳嗽得很厉害。" * 200)
    assert len(found) > 2
    assert all(passage.endswith("。") for passage in found)


def bare(text: str) -> str:
    return re.sub(r"\s", "", text)


@given(st.text(alphabet="ab .!?。\n\"')(Dr1", max_size=600), st.integers(1, 6), st.integers(0, 20))
def test_nothing_is_lost_and_no_sentence_is_torn(text: str, least: int, more: int) -> None:
    passages = cut_passages(text, (least, least + more))
    assert bare("".join(passages)) == bare(text)
    for passage in passages:
        assert passage.strip()
    for sentence in (found for line in text.split("\n") for found in sentences_of(line.strip())):
        is_long = len(sentence.split()) > 2 * least
        assert is_long or any(bare(sentence) in bare(passage) for passage in passages)


@given(st.text(max_size=300))
def test_any_text_can_be_cut(text: str) -> None:
    clean = clean_prose(text)
    sections = sections_of(clean)
    for _, body in sections:
        assert bare("".join(cut_passages(body, (5, 10)))) == bare(body)


@pytest.mark.parametrize(
    "hostile",
    [
        "==" + " " * 200_000,
        "== " * 70_000,
        "." * 200_000,
        "e.g. " * 40_000,
        ("A" * 50 + ". ") * 4_000,
        "(" * 200_000,
        "\n" * 200_000,
        "== a ==\n" * 20_000,
    ],
)
def test_no_text_keeps_it_busy_for_long(hostile: str) -> None:
    began = time.monotonic()
    for _, body in sections_of(clean_prose(hostile)):
        cut_passages(body)
    assert time.monotonic() - began < 5


def test_control_characters_and_marks_of_direction_go() -> None:
    assert clean_prose("a\x00b\x1b[31mc\u202ed\u200be\ufefff\ud800g\u00adh") == "ab[31mcdefgh"
    assert clean_prose("a\r\nb\rc\u2028d\x85e\x0bf\tg") == "a\nb\nc\nd\ne\nf g"
    assert clean_prose("می\u200cخواهم") == "می\u200cخواهم"


def test_a_passage_scores_for_the_words_it_shares() -> None:
    passages = [
        ("Croup", "A barking cough."),
        ("Heartburn", "Acid rises."),
        ("Cold", "Cough, cough and cough again."),
    ]
    first, second, third = bm25("Why does my child cough and bark?", passages)
    assert first > third > second == 0
    assert bm25("heartburn", passages) == [0, pytest.approx(bm25("heartburn", passages)[1]), 0]
    assert bm25("heartburn", passages)[1] > 0, "the heading counts"
    assert bm25("", passages) == [0, 0, 0]
    assert bm25("cough", []) == []
    assert bm25("cough", [("", "")]) == [0]


def test_chinese_is_ranked_by_pairs_of_letters() -> None:
    scores = bm25("孩子咳嗽", [("", "小儿咳嗽很常见。"), ("", "胃痛的原因。")])
    assert scores[0] > 0 == scores[1]


@given(st.text(max_size=80), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=80)), max_size=5))
def test_scores_are_never_negative(query: str, passages: list[tuple[str, str]]) -> None:
    scores = bm25(query, passages)
    assert len(scores) == len(passages)
    assert all(score >= 0 for score in scores)
