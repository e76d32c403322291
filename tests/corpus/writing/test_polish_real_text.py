"""Planted changes of meaning in published answers: how many are seen, and what is rejected without one."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable

import pytest

from chatdoctor_hub.corpus.writing.teaching.lexicon import Lexicon
from chatdoctor_hub.corpus.writing.teaching.meaning import changes_of_meaning
from chatdoctor_hub.proportion import Proportion

LEXICON = Lexicon()
COMFORT = {
    "en": "I understand how hard this is for you. {} I hope that this explains it, and please do not worry too much.",
    "zh": "您的心情我非常理解。{} 请您放松心情，不用太担心，祝您生活愉快。",
}


@pytest.fixture(scope="module")
def answers(shared_data):
    records = json.loads((shared_data / "chatdoctor" / "genmedgpt_4000.json").read_text("utf-8"))
    english = [re.split(r"\s*Patient:", record["output"])[0].strip() for record in records]
    with (shared_data / "bianque" / "cMedialog_example.csv").open(encoding="utf-8", newline="") as file:
        chinese = [row["target"].strip() for row in csv.DictReader(file)]
    pick = random.Random("polish")
    # All answers with a number or a "not", which are few, and some of the others.
    telling = [text for text in english if re.search(r"\d| not |n't |avoid ", text) and len(text) > 60]
    others = pick.sample([text for text in english if len(text) > 60], 150)
    return {"en": telling + others, "zh": [text for text in chinese if len(text) < 600]}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_words_of_comfort_change_nothing(answers, language):
    kept = Proportion.of(
        not changes_of_meaning(text, COMFORT[language].format(text), LEXICON) for text in answers[language]
    )
    print(f"{language}: fuller and unchanged in meaning, accepted: {kept}")
    assert kept.rate >= 0.98


def another_number(text: str) -> str:
    match = re.search(r"(?<![\w.])\d+(?=\s*[\u4e00-\u9fff%]|\s+\w|\s*mg|\s*ml)", text)
    return text if not match else f"{text[: match.start()]}{int(match.group()) + 7}{text[match.end() :]}"


DRUGS = ("ibuprofen", "acetaminophen", "prednisone", "lidocaine", "dexamethasone", "morphine", "aspirin")
CHINESE_DRUGS = (
    "阿莫西林",
    "克拉霉素",
    "奥美拉唑",
    "黄体酮",
    "利巴韦林",
    "青霉素",
    "胰岛素",
    "叶酸",
    "干扰素",
)
NEGATIONS = ((" not ", " "), (" cannot ", " can "), (" without ", " with "), ("avoid ", "do "))
CHINESE_NEGATIONS = (("不要", "要"), ("不能", "能"), ("避免", "多多"), ("禁止", "可以"), ("忌", "吃"))


def another_drug(text: str) -> str:
    for drug in (*DRUGS, *CHINESE_DRUGS):
        if re.search(drug, text, re.IGNORECASE):
            new = "warfarin" if drug.isascii() else "华法林"
            return re.sub(drug, new, text, flags=re.IGNORECASE)
    return text


def without_a_negation(text: str) -> str:
    for old, new in (*NEGATIONS, *CHINESE_NEGATIONS):
        if old in text:
            return text.replace(old, new)
    return text


def more_urgent(text: str) -> str:
    return f"{text} " + (
        "请立即去急诊。" if re.search("[\u4e00-\u9fff]", text) else "Go to the emergency department at once."
    )


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("change", [another_number, another_drug, without_a_negation, more_urgent])
def test_planted_changes_are_seen(answers, language, change: Callable[[str], str]):
    seen = []
    for text in answers[language]:
        changed = change(text)
        if changed != text:
            faults = changes_of_meaning(text, COMFORT[language].format(changed), LEXICON)
            seen.append(bool(faults))
    share = Proportion.of(seen)
    print(f"{language}, {change.__name__}: seen {share}")
    assert share.rate >= 0.85
