from __future__ import annotations

import csv
import json
import random
import re
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.splits import split
from chatdoctor_hub.corpus.writing.question_rules import asking_sentences, is_question
from chatdoctor_hub.corpus.writing.questioning import coq
from chatdoctor_hub.corpus.writing.synthesis import synthesize
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge import DiseaseTable
from chatdoctor_hub.proportion import Proportion

ASKING = (
    "How long have you had this pain?",
    "It may be gout. Is the toe red or warm?",
    "Please describe the pain.",
    "Can you tell me more about the cough",
    "I would like to know whether anyone in your family has it.",
    "Do you smoke? It matters for your lungs.",
    "Any fever or chills?",
    "Do you have a fever",
    "I see. Since when? And does it hurt at night? Thank you.",
    "请问您多大年龄了？",
    "有没有发热？",
    "你好，这种情况多久了",
    "大便怎么样，有没有腹泻",
    "以前有胃病史吗？",
    "除了头痛还有哪里不舒服",
    "吃过什么药没有？",
    "做过胃镜没",
    "体温多少度",
    "可以把化验单拍照发给我看看吗？",
    "您好，请详细描述一下孩子的症状。",
    "平时饮食规律吗？吸烟喝酒吗？",
    "可能是胃炎。有没有反酸、烧心？",
    "是不是一吃东西就疼？",
    "那你现在还发烧吗",
    "恶心吗",
)
NOT_ASKING = (
    "You may have gout. Rest the foot and see a doctor.",
    "Drink enough water. Do you have any other questions?",
    "We will run some tests. Does that sound good to you?",
    "Would you like me to order some tests?",
    "What is gout? Gout is a joint inflammation.",
    "Ask your doctor whether the dose is right for you.",
    'Many patients ask "will it come back?", and it rarely does.',
    "It?? possible that you have gout. Rest the foot.",
    "Have you taken anything for it? In any case you should rest, drink water and take it easy for a week.",
    "建议您做个胃镜检查，看看有没有炎症。",
    "您还有什么问题吗？",
    "多喝水，注意休息，好吗？",
    "为什么会头晕呢？主要是因为血压偏低。建议复查血压。",
    "以上是对“感冒怎么办？”这个问题的建议，祝您健康。",
    "需要根据检查结果判断是否手术。",
    "不知道是不是过敏，先观察两天。",
    "去医院查一下血常规，明确是病毒还是细菌感染。",
    "如何预防感冒？要多锻炼身体。",
    "什么是痛风？痛风是尿酸高引起的关节炎。",
    "口服药物治疗，避免久坐，?侗云?纫┪镏",
)
# Numbers of the records, from 1, of a seeded selection that was labelled by hand: those that do not ask
# although they hold a question mark (offers, damaged characters, advice after the question).
NOT_ASKING_RECORDS = {81, 269, 646, 748, 812, 1101, 1239, 1270, 1761, 1887, 2281, 2993, 3229, 3728, 3842}


@pytest.mark.parametrize("text", ASKING)
def test_questions(text):
    assert is_question(text)
    assert is_question(Turn("doctor", text))
    assert asking_sentences(text)


@pytest.mark.parametrize("text", NOT_ASKING)
def test_suggestions(text):
    assert not is_question(text)


@given(st.text(max_size=200))
@settings(max_examples=150, deadline=None)
def test_any_text_has_an_answer_and_its_asking_sentences_are_in_it(text):
    is_question(text)
    for sentence in asking_sentences(text):
        assert text[sentence.start : sentence.end] == sentence.text


def test_accuracy_on_labelled_turns_of_generated_dialogues(shared_data):
    """130 turns, 90 with a question mark: 75 ask, 55 do not."""
    records = json.loads((shared_data / "chatdoctor" / "genmedgpt_4000.json").read_text("utf-8"))
    turns = {
        number: re.split(r"\s*Patient:", record["output"])[0].strip()
        for number, record in enumerate(records, start=1)
    }
    marked = [number for number, text in turns.items() if "?" in text]
    plain = [number for number, text in turns.items() if text and "?" not in text]
    chosen = random.Random("coq labels").sample(marked, 90) + random.Random("coq labels").sample(plain, 40)
    assert set(chosen) >= NOT_ASKING_RECORDS
    right = Proportion.of(
        is_question(turns[number]) == ("?" in turns[number] and number not in NOT_ASKING_RECORDS)
        for number in chosen
    )
    print(f"generated dialogues: {right}")
    assert right.n == 130
    assert right.low >= 0.93


def test_accuracy_on_the_sample_file_of_bianque(shared_data):
    """All 128 targets are advice (read and labelled one by one); 18 are taken for questions by substrings."""
    with (shared_data / "bianque" / "cMedialog_example.csv").open(encoding="utf-8", newline="") as file:
        targets = [row["target"] for row in csv.DictReader(file)]
    right = Proportion.of(not is_question(target) for target in targets)
    print(f"BianQue's sample file: {right}")
    assert right.n == 128
    assert right.low >= 0.93


def dialogue(*texts: str, id: str = "7", first: str = "patient") -> Dialogue:
    roles = ("patient", "doctor") if first == "patient" else ("doctor", "patient")
    return Dialogue(
        tuple(Turn(roles[n % 2], text) for n, text in enumerate(texts)), id=id, source="s", topic="t"
    )


TALK = dialogue("My toe hurts.", "Since when?", "Two days.", "Rest it.", "Thanks. And beer?", "Better not.")


def test_every_doctor_turn_is_a_target_with_all_that_was_said():
    samples = coq([TALK], target_questions=None)
    assert [sample.label for sample in samples] == ["question", "suggestion", "suggestion"]
    assert [len(sample.dialogue.turns) for sample in samples] == [2, 4, 6]
    assert [sample.dialogue.id for sample in samples] == ["7#1", "7#2", "7#3"]
    for sample in samples:
        assert sample.dialogue.turns == TALK.turns[: len(sample.dialogue.turns)]
        assert sample.dialogue.turns[0].content == "My toe hurts.", "the first message is never dropped"
        assert (sample.dialogue.source, sample.dialogue.topic) == ("s", "t")
    assert len({sample.group for sample in samples}) == 1
    assert samples.counts == {"question": 1, "suggestion": 2}
    assert samples[1:][0] is samples[1]


def test_a_doctor_who_speaks_first_is_no_target():
    samples = coq([dialogue("Hello.", "My toe hurts.", "Since when?", first="doctor")], None)
    assert [sample.dialogue.id for sample in samples] == ["7#2"]
    assert len(samples[0].dialogue.turns) == 3
    assert samples.skipped == {"doctor_turns_before_the_patient": 1}
    assert coq([Dialogue((Turn("patient", "Hm."),))]).skipped == {"dialogues_without_target": 1}


@pytest.mark.parametrize("share", [0.0, 0.2, 0.46, 0.5, 0.75, 1.0])
def test_the_share_of_questions_is_reached(share):
    dialogues = synthesize(DiseaseTable.starter(), n=120, multi_turn=0.5)
    every = coq(dialogues, None)
    samples = coq(dialogues, share)
    assert samples.reached
    assert abs(samples.share - share) * len(samples) <= 1
    assert samples.found == every.counts
    kept = samples.counts
    assert kept["question"] == every.counts["question"] or kept["suggestion"] == every.counts["suggestion"]
    assert {sample.dialogue.digest for sample in samples} <= {sample.dialogue.digest for sample in every}


def test_the_choice_depends_on_the_seed_and_not_on_the_order():
    dialogues = synthesize(DiseaseTable.starter(), n=120)
    one = coq(dialogues, 0.5, seed=1)
    assert one == coq(dialogues, 0.5, seed=1)
    digests = Counter(sample.dialogue.digest for sample in one)
    assert digests == Counter(sample.dialogue.digest for sample in coq(dialogues[::-1], 0.5, seed=1))
    assert digests != Counter(sample.dialogue.digest for sample in coq(dialogues, 0.5, seed=2))


def test_a_share_that_cannot_be_reached_is_reported():
    samples = coq([dialogue("My toe hurts.", "Rest it.")] * 3)
    assert len(samples) == 3
    assert not samples.reached
    assert samples.to_record() == {
        "found": {"question": 0, "suggestion": 3},
        "kept": {"question": 0, "suggestion": 3},
        "skipped": {},
        "target_questions": 0.46,
        "share_of_questions": 0.0,
        "reached": False,
    }
    assert coq([]).share is None


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none(share):
    with pytest.raises(ConfigError, match="a share from 0 to 1"):
        coq([TALK], share)


def test_samples_of_one_dialogue_stay_in_one_split():
    samples = coq(synthesize(DiseaseTable.starter(), n=120, multi_turn=1.0))
    divided = split(samples.dialogues, validation=0.2, test=0.2)
    group = {sample.dialogue.digest: sample.group for sample in samples}
    homes: dict[str, set[str]] = {}
    for name in ("train", "validation", "test"):
        for item in getattr(divided, name):
            homes.setdefault(group[item.digest], set()).add(name)
    assert max(map(len, homes.values())) == 1
