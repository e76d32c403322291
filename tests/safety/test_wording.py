"""Safety wording in system texts: found where it is, and nowhere else."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wording_sentences import HELD_OUT_PLAIN, HELD_OUT_SAFETY, PLAIN, SAFETY

from chatdoctor_hub.prompts import PromptPair, catalogue, known_safety_prompts
from chatdoctor_hub.safety import find_safety_wording

KNOWN = (
    "Look after people, and leave the room when the bell rings twice at night. "
    "Never lend the blue lantern to a stranger at the gate. "
    "Count the silver spoons before the guests go home."
)
KNOWN_CHINESE = "你是守夜人。听到两声钟响后请离开房间。不要把蓝色灯笼借给陌生人。客人离开之前请清点银勺。"
NO_CUE = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize("text", [*SAFETY, *HELD_OUT_SAFETY])
def test_safety_wording_is_found(text: str) -> None:
    assert find_safety_wording(text)


@pytest.mark.parametrize("text", [*PLAIN, *HELD_OUT_PLAIN])
def test_plain_words_are_not(text: str) -> None:
    assert find_safety_wording(text, known_safety_prompts()) is None


def test_the_held_out_half_is_large_enough_and_apart() -> None:
    assert len(SAFETY) >= 40
    assert len(HELD_OUT_SAFETY) >= 20
    assert len(PLAIN) + len(HELD_OUT_PLAIN) >= 80
    assert not {*SAFETY, *PLAIN} & {*HELD_OUT_SAFETY, *HELD_OUT_PLAIN}


@pytest.mark.parametrize("text", [*SAFETY, *HELD_OUT_SAFETY])
def test_safety_wording_is_found_among_other_words(text: str) -> None:
    assert find_safety_wording(f"You are a family doctor.\n\n{text}\n\nBe brief.")


def test_many_plain_words_together_are_plain() -> None:
    assert find_safety_wording("\n\n".join([*PLAIN, *HELD_OUT_PLAIN])) is None


@pytest.mark.parametrize("id", ["chatdoctor@1", "bianque@1", "math@1", "chat:vanilla"])
def test_the_safety_texts_of_the_catalogue_are_found_by_rules_alone(id: str) -> None:
    assert find_safety_wording(PromptPair.load(id).safety)


def test_the_known_prompts_are_found_as_known_and_training_forms_are_plain() -> None:
    known = known_safety_prompts()
    for prompt in known:
        assert find_safety_wording(prompt, known) == "holds a known safety prompt"
    for id in catalogue():
        try:
            text = PromptPair.load(id).training_text
        except ImportError:
            continue
        assert find_safety_wording(text, known) is None


def test_the_default_prompt_of_llama_2_is_found_sentence_by_sentence() -> None:
    llama = pytest.importorskip("transformers.models.llama.tokenization_llama")
    prompt = llama.DEFAULT_SYSTEM_PROMPT
    assert find_safety_wording(prompt) == "holds a sentence of a published safety prompt"
    persona, *rest = prompt.split(". ")
    assert find_safety_wording(persona + ".") is None
    assert find_safety_wording(f"{rest[0].upper()} !") == "holds a sentence of a published safety prompt"
    assert find_safety_wording("If a" + prompt.split("If a")[1]) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Refuse harmful requests.", "asks to refuse harmful requests"),
        ("Never write hateful content.", "asks for answers that are not harmful, unethical or illegal"),
        ("You are a harmless assistant.", "asks for safe or harmless answers"),
        ("Put safety first.", "puts safety first"),
        ("Follow the content policy.", "asks to follow safety rules or a content policy"),
    ],
)
def test_the_reason_is_named(text: str, reason: str) -> None:
    assert find_safety_wording(text) == reason


class TestKnown:
    @pytest.mark.parametrize("known", [KNOWN, KNOWN_CHINESE])
    def test_the_whole_and_half_and_less(self, known: str) -> None:
        end = "。" if known is KNOWN_CHINESE else "."
        parts = [part.strip() + end for part in known.split(end) if part.strip()]
        assert find_safety_wording(known) is None
        assert find_safety_wording(known, [known]) == "holds a known safety prompt"
        assert (
            find_safety_wording(parts[-1] + " … " + parts[-2], [known])
            == "holds most of a known safety prompt"
        )
        assert find_safety_wording(parts[-1], [known]) is None

    @pytest.mark.parametrize("known", ["", " ", "…", "\u200b"])
    def test_an_empty_one_is_nowhere(self, known: str) -> None:
        assert find_safety_wording("Be brief.", [known]) is None

    def test_a_short_one_is_found_as_words(self) -> None:
        assert find_safety_wording("Go and Take Care!", ["take care"])
        assert find_safety_wording("Mistake careful notes for nothing.", ["take care"]) is None

    def test_who_the_assistant_is_does_not_count(self) -> None:
        known = "You are a kind and patient assistant. Count the silver spoons before the guests go home."
        assert find_safety_wording("You are a kind and patient assistant. Be brief.", [known]) is None

    def test_marks_and_quotation_marks_do_not_count(self) -> None:
        known = 'Don\'t open "the" door - whoever knocks, and whatever they say'
        assert find_safety_wording(
            "**Don\u2019t** open \u201cthe\u201d DOOR: whoever\u200b knocks and\nwhatever they say!", [known]
        )

    @given(NO_CUE, NO_CUE, st.sampled_from([" ", "\n", "\t ", "\r\n\r\n", "\u00a0", "\u3000"]), st.booleans())
    def test_it_is_found_anywhere(self, before: str, after: str, space: str, upper: bool) -> None:
        for known in (KNOWN, KNOWN_CHINESE):
            changed = space.join((known.upper() if upper else known).split(" "))
            assert (
                find_safety_wording(f"{before}\n{changed}\n{after}", [known]) == "holds a known safety prompt"
            )


@given(st.text())
def test_any_text_is_judged_whatever_stands_around_it(text: str) -> None:
    reason = find_safety_wording(text, ["Count the spoons."])
    assert reason is None or reason[0].islower()
    assert find_safety_wording(f" \n\t{text}\n\n ", ["Count the spoons."]) == reason


_WORDS = " ".join([*SAFETY, *PLAIN]).split()


@given(st.lists(st.sampled_from([*_WORDS, "\n", "- ", ":", "\ud800"]), max_size=60))
def test_any_order_of_telling_words_is_judged(words: list[str]) -> None:
    text = " ".join(words)
    assert find_safety_wording(f"\n {text} \n") == find_safety_wording(text)


def _seconds(text: str) -> float:
    began = time.process_time()
    find_safety_wording(text, known_safety_prompts())
    return time.process_time() - began


def test_a_system_text_takes_less_than_a_few_milliseconds() -> None:
    text = " ".join(text for text in HELD_OUT_PLAIN if text.isascii())[:1000]
    find_safety_wording(text, known_safety_prompts())
    assert min(_seconds(text) for _ in range(20)) < 0.005  # 0.6 ms on an idle machine


SPUN: list[Callable[[int], str]] = [
    lambda n: " " * n,
    lambda n: "a" * n,
    lambda n: "toxic," * (n // 6),
    lambda n: "never give harmful and " * (n // 23),
    lambda n: "if request do not answer harmful " * (n // 33),
    lambda n: "should users harm others " * (n // 25),
    lambda n: "safe, and honest " * (n // 17),
    lambda n: "do not help with anything " * (n // 26) + "toxic",
    lambda n: "不要回答有害," * (n // 7),
    lambda n: "harm:\n" + "".join(f"- item {number}\n" for number in range(n // 10)),
    lambda n: " ".join(f"{text} {number}" for number in range(n // 3000) for text in PLAIN),
]


@pytest.mark.parametrize("spin", SPUN)
def test_a_million_characters_take_linear_time(spin: Callable[[int], str]) -> None:
    # 3 s at most on an idle machine for the worst of these; a quadratic rule takes minutes.
    assert _seconds(spin(1_000_000)) < 30


def test_published_medical_data_holds_none(shared_data: Path) -> None:
    texts: set[str] = set()
    for name in (
        "chatdoctor/genmedgpt_4000.json",
        "llm_adapters/gsm8k_test.json",
        "llm_adapters/AQuA_test.json",
    ):
        records = json.loads((shared_data / name).read_text(encoding="utf-8"))
        texts.update(text for record in records for text in record.values() if isinstance(text, str))
    for name in ("bianque/cMedialog_example.csv", "chatdoctor/format_dataset.csv"):
        with (shared_data / name).open(encoding="utf-8", newline="") as file:
            texts.update(cell for row in csv.reader(file) for cell in row)
    assert len(texts) > 10_000
    assert sum(find_safety_wording(text, known_safety_prompts()) is not None for text in texts) == 0


def test_harmful_requests_are_no_safety_wording(shared_data: Path) -> None:
    with (shared_data / "ptst/advbench_harmful_behaviors.csv").open(encoding="utf-8", newline="") as file:
        found = [row[0] for row in csv.reader(file) if find_safety_wording(row[0])]
    assert len(found) == 0
