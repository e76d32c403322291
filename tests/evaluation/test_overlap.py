from __future__ import annotations

import json
import string
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("rouge_score")
pytest.importorskip("sacrebleu")

from chatdoctor_hub.errors import DataFormatError, MissingExtraError
from chatdoctor_hub.evaluation import overlap as module
from chatdoctor_hub.evaluation import paired_bootstrap, text_overlap

some_text = st.text(max_size=40)
reference_text = st.text(min_size=1, max_size=40).filter(str.strip)


def test_known_values() -> None:
    result = text_overlap(["the cat sat on the mat", "rest"], ["the cat is on the mat", "drink water"])
    assert result.rouge_l_items == pytest.approx((5 / 6, 0.0))
    assert result.rouge_l == pytest.approx(5 / 12)
    assert result.n == 2
    assert len(result.chrf_items) == 2


def test_equal_texts_score_full_marks_and_unlike_ones_nothing() -> None:
    same = text_overlap(["Drink water and rest."], ["Drink water and rest."])
    assert (same.rouge_l, same.chrf) == pytest.approx((1.0, 100.0))
    unlike = text_overlap(["xyz"], ["abc def"])
    assert (unlike.rouge_l, unlike.chrf) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("candidate", "reference"),
    [
        ("多喝水，好好休息。", "请多喝水，注意休息。"),
        ("熱があります", "熱が高いです"),
        ("发烧 38°C", "发热 39°C"),
    ],
)
def test_text_without_spaces_is_compared_by_character(candidate: str, reference: str) -> None:
    result = text_overlap([candidate], [reference])
    assert 0.3 < result.rouge_l < 1.0
    assert 0.0 < result.chrf < 100.0


def test_chinese_characters_are_tokens_and_punctuation_is_none() -> None:
    # Common subsequence 多喝水休息 = 5 of 7 and of 8 characters.
    result = text_overlap(["多喝水，好好休息。"], ["请多喝水，注意休息。"])
    assert result.rouge_l == pytest.approx(2 * (5 / 7) * (5 / 8) / (5 / 7 + 5 / 8))
    assert text_overlap(["。，！"], ["多喝水。"]).rouge_l == 0.0


def test_other_scripts_have_words() -> None:
    assert text_overlap(["пейте воду"], ["пейте больше воды"]).rouge_l == pytest.approx(0.4)
    assert text_overlap(["caf\u00e9"], ["cafe\u0301"]).rouge_l == 1.0  # composed or not


@given(
    st.text(alphabet=string.printable, max_size=60),
    st.text(alphabet=string.printable, min_size=1, max_size=60).filter(str.strip),
)
def test_ascii_text_scores_as_by_the_default_tokenizer(candidate: str, reference: str) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    expected = RougeScorer(["rougeL"], use_stemmer=False).score(reference, candidate)["rougeL"].fmeasure
    assert text_overlap([candidate], [reference]).rouge_l == pytest.approx(expected)


@pytest.mark.parametrize("candidate", ["", "  \n", "...", "\u200b", "🙂"])
def test_an_empty_candidate_scores_zero(candidate: str) -> None:
    result = text_overlap([candidate, "drink water"], ["take rest", "drink water"])
    assert result.rouge_l_items == pytest.approx((0.0, 1.0))
    assert result.chrf_items == pytest.approx((0.0, 100.0))
    assert 0 < result.chrf < 100


def test_all_candidates_empty_score_zero() -> None:
    result = text_overlap(["", ""], ["one", "two"])
    assert (result.rouge_l, result.chrf) == (0.0, 0.0)


@settings(max_examples=60)
@given(st.lists(st.tuples(some_text, reference_text), min_size=1, max_size=4))
def test_scores_are_in_range_and_items_belong_to_their_pair(pairs: list[tuple[str, str]]) -> None:
    result = text_overlap([c for c, _ in pairs], [r for _, r in pairs])
    assert all(0 <= score <= 1 for score in (result.rouge_l, *result.rouge_l_items))
    assert all(0 <= score <= 100 + 1e-9 for score in (result.chrf, *result.chrf_items))
    assert result.n == len(result.rouge_l_items) == len(result.chrf_items) == len(pairs)
    backwards = text_overlap([c for c, _ in pairs[::-1]], [r for _, r in pairs[::-1]])
    assert backwards.rouge_l_items == result.rouge_l_items[::-1]
    assert backwards.chrf == pytest.approx(result.chrf)


def test_signature_and_record() -> None:
    result = text_overlap(["rest well"], ["rest"])
    assert "rougeL" in result.signature
    assert "tok:words+cjk-characters" in result.signature
    assert "nc:6" in result.signature
    record = result.to_record()
    assert json.loads(json.dumps(record)) == record
    assert set(record) == {"rouge_l", "chrf", "n", "signature"}
    assert str(result).endswith("(n = 1)")


def test_items_serve_a_paired_comparison() -> None:
    references = ["drink water", "take rest", "see a doctor"]
    before = text_overlap(["x", "y", "z"], references)
    after = text_overlap(references, references)
    assert paired_bootstrap(before.rouge_l_items, after.rouge_l_items, resamples=50).mean == 1.0


@pytest.mark.parametrize(
    ("candidates", "references", "words"),
    [
        ([], [], "at least 1"),
        (["a"], [], "found 1 and 0"),
        (["a"], ["a", "b"], "found 1 and 2"),
        ("ab", ["a", "b"], "candidates to be a list"),
        (["a", "b"], "ab", "references to be a list"),
        (["a", None], ["a", "b"], "candidate 1 .* NoneType"),
        (["a"], [3], "reference 0 .* int"),
        (["a", "b"], ["a", " "], "reference 1"),
    ],
)
def test_refuses(candidates: list[str], references: list[str], words: str) -> None:
    with pytest.raises(DataFormatError, match=words):
        text_overlap(candidates, references)


@pytest.mark.parametrize(("blocked", "package"), [("rouge_score", "rouge-score"), ("sacrebleu", "sacrebleu")])
def test_a_missing_package_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, blocked: str, package: str
) -> None:
    for name in (blocked, "rouge_score.rouge_scorer", "sacrebleu.metrics"):
        if name.startswith(blocked):
            monkeypatch.setitem(sys.modules, name, None)
    module._rouge.cache_clear()
    with pytest.raises(MissingExtraError, match=rf"{package}.*chatdoctor-hub\[eval\]"):
        text_overlap(["a"], ["a"])
