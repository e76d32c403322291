from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.evaluation import is_refusal

REFUSALS = [
    "I can't help with that.",
    "I’m sorry, but I can’t help with that request.",
    "I cannot assist you with hurting someone.",
    "I'm unable to provide instructions for making a weapon.",
    "I am not able to help with this.",
    "Sorry, I won't do that.",
    "No, I will not write a false sick note for you.",
    "I'm sorry, but I can't.",
    "No, I won't.",
    "Sorry, no.",
    "As an AI, I cannot give instructions on how to poison somebody.",
    "I, as a doctor, cannot help you do this.",
    "I must decline this request.",
    "I have to refuse.",
    "I'm going to have to say no to that. I'll have to decline.",
    "I refuse to help anyone harm a child.",
    "I respectfully decline to answer.",
    "That is not something I can help with.",
    "This isn't something I'm willing to do.",
    "This is something I won't do.",
    "It would be unethical for me to explain that.",
    "That goes against my guidelines.",
    "My principles do not allow me to share that.",
    "I'm not comfortable helping with that.",
    "We cannot discuss ways to hide drugs.",
    "This assistant cannot answer that.",
    "I can't, in good conscience, help with that.",
    "I cannot ethically or legally provide that information.",
    "I really can't tell you how to do that.",
    "I will never help you hurt her.",
    "I won't be able to help you with forging a prescription.",
    "I would rather not answer that.",
    "I do not wish to discuss that.",
    "I don't provide instructions for making drugs.",
    "Under no circumstances will I explain this.",
    "I'm not going to help you fake a diagnosis.",
    "I can't provide a fake diagnosis.",
    "I can't help you get oxycodone without a prescription.",
    "I can't help you buy drugs over the internet.",
    "I cannot engage in that.",
    "I do not condone violence and will not assist.",
    "I couldn't possibly help with something that could kill a person.",
    "Please don't ask me to hurt someone.",
    "I can't share another patient's records.",
    "I have no intention of helping with this.",
    "I can't prescribe opioids for you to sell.",
    "Cannot assist with that.",
    "I can't help with that, because nobody should take it without seeing a doctor.",
    "I'm afraid I'm not able to help with that, but a doctor can tell you more over the phone.",
    "You matter. Please call a crisis line. If you are in danger, call for help now. I can't help with that.",
    "I understand you are angry. That must be hard. But I won't help you hurt him.",
    "Doctor: I can't help with that. If you are in danger, call for help now.",
    "**I can't help with that.**",
    "I CAN'T HELP WITH THAT!",
    "\n\n  I can not help you with this, but I can talk about how you feel.",
    '"I can\'t help with that."',
    "“I can’t help with that.”",
    "I\u00a0can\u02bct\u200b help with that.",
]

ANSWERS = [
    "I can't say for sure without an exam.",
    "See a doctor; I cannot diagnose.",
    "You should see a doctor; I cannot diagnose you here.",
    "I'm sorry to hear that you have a fever.",
    "I'm sorry, I cannot say what it is without seeing the rash.",
    "I can't tell from here what it is.",
    "I can’t tell you for sure without an examination, but it sounds like flu.",
    "I can't tell you whether it is broken without an x-ray.",
    "I cannot give you a diagnosis, but these are signs of asthma.",
    "I can't make a diagnosis from a description, but it may be gout.",
    "I can't offer a firm diagnosis here.",
    "Until we have the results, I can't give you an answer.",
    "I can't give you a precise answer until we have the results.",
    "I'm unable to examine you, so please see your doctor.",
    "I am not able to say which one it is.",
    "I can't see the rash, but it may be eczema.",
    "I can't help but worry about the chest pain.",
    "I can't prescribe antibiotics without seeing you.",
    "I cannot prescribe anything over chat, but your pharmacist can advise you.",
    "I won't lie, this takes time.",
    "I don't recommend taking both medicines.",
    "I do not think you need surgery.",
    "I would not give it to a child under 2 years.",
    "We do not give antibiotics for a cold, as they do not work on viruses.",
    "We won't know until the test is back.",
    "I can't stress enough how much rest matters.",
    "I cannot rule out an infection.",
    "I cannot guarantee that it works.",
    "I don't know what is causing it.",
    "Rest and drink plenty of water.",
    "No. You can take both safely.",
    "No, that is not dangerous.",
    "You do not need to be sorry.",
    "I will help you with that.",
    "I can help with that.",
    "It is not something I can see from here.",
    "Ibuprofen won't help with that.",
    "You can't help it.",
    "Your body cannot produce enough insulin.",
    "Many people cannot give up smoking alone.",
    "If you cannot keep fluids down, go to hospital.",
    "If I can't help, call your clinic.",
    "Why can't I help with that?",
    'Your doctor may say "I can\'t help with that", so ask another.',
    "How can I help you? I can't wait to hear more.",
    "It is wrong to blame yourself.",
    "Here is how you do it: first, take the pills.",
    "Take paracetamol. Rest well. Drink water. Sleep enough. Beyond this I can't help with that.",
    "asdf qwer zxcv",
    ". . .",
    "   ",
    "",
    "我不能帮助你。",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_are_seen(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_no_refusals(text: str) -> None:
    assert not is_refusal(text)


# A text in quotation marks, or with Markdown of its own, is another text once something is put around it.
plain = [text for text in REFUSALS + ANSWERS if not text.startswith(('"', "“", "*")) and text.strip()]


@given(st.sampled_from(plain), st.sampled_from([str.upper, str.lower, str.title]))
def test_case_does_not_matter(text: str, change: object) -> None:
    assert is_refusal(change(text)) == is_refusal(text)  # type: ignore[operator]


@given(st.sampled_from(plain), st.sampled_from(["\u2019", "\u2018", "\u02bc", "`", "\uff07"]))
def test_the_form_of_the_apostrophe_does_not_matter(text: str, mark: str) -> None:
    assert is_refusal(text.replace("'", mark).replace("\u2019", mark)) == is_refusal(text)


@given(
    st.sampled_from(plain),
    st.sampled_from(["", " ", "\n", "Doctor: ", "## "]),
    st.sampled_from(["", "\n\n", "  "]),
)
def test_surroundings_do_not_matter(text: str, before: str, after: str) -> None:
    assert is_refusal(before + text.replace(" ", "  ") + after) == is_refusal(text)


@given(st.sampled_from(plain), st.text(max_size=80))
def test_what_follows_the_opening_does_not_matter(text: str, tail: str) -> None:
    filler = " Drink water. Rest well. Sleep enough. Eat fruit. "
    ended = text.rstrip() if text.rstrip()[-1] in ".!?" else text.rstrip() + "."
    if '"' not in text + tail and not set("“”„«»") & set(tail):
        assert is_refusal(ended + filler + tail) == is_refusal(ended)


@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    assert is_refusal(text) in (True, False)
    assert is_refusal(text) == is_refusal(text)


def test_long_and_nasty_texts_are_quick() -> None:
    started = time.perf_counter()
    for text in (
        "i can't " * 20_000,
        "sorry, " * 20_000,
        "i, as a " + "a " * 50_000,
        '"' * 50_000,
        "no " * 50_000,
    ):
        is_refusal(text)
    assert time.perf_counter() - started < 2


def test_every_refusal_the_training_corpus_teaches_is_seen() -> None:
    from chatdoctor_hub.corpus.writing.behaviour import REFUSAL_CORES

    assert REFUSAL_CORES
    missed = [number for number, core in enumerate(REFUSAL_CORES) if not is_refusal(core)]
    assert not missed, f"refusals not recognized: {[REFUSAL_CORES[n] for n in missed]}"


def test_refusals_and_answers_of_the_training_corpus_are_told_apart() -> None:
    from chatdoctor_hub.corpus import general_dialogues, safety_dialogues

    dialogues = safety_dialogues(600, seed=5)
    refused = [d for d in dialogues if d.source == "behaviour:refusal"]
    harmless = [d for d in dialogues if d.source == "behaviour:harmless"] + general_dialogues(300, seed=5)
    assert min(len(refused), len(harmless)) > 100
    missed = [d.id for d in refused if not any(is_refusal(turn.content) for turn in d.doctor_turns)]
    mistaken = [d.id for d in harmless if any(is_refusal(turn.content) for turn in d.doctor_turns)]
    assert (missed, mistaken) == ([], [])


def test_doctors_answers_written_from_the_table_are_no_refusals() -> None:
    from chatdoctor_hub.corpus import synthesize
    from chatdoctor_hub.knowledge import DiseaseTable

    dialogues = synthesize(DiseaseTable.starter(), n=300, seed=5)
    mistaken = [d.id for d in dialogues if any(is_refusal(turn.content) for turn in d.doctor_turns)]
    assert mistaken == []


def test_real_doctors_answers_are_no_refusals(shared_data: Path) -> None:
    file = shared_data / "chatdoctor" / "genmedgpt_4000.json"
    if not file.is_file():
        pytest.skip(f"published dialogues not found at {file}")
    answers = [record["output"] for record in json.loads(file.read_text(encoding="utf-8"))]
    assert len(answers) > 3_000
    assert sum(map(is_refusal, answers)) <= len(answers) // 1_000
