from __future__ import annotations

import random
import re
import subprocess
import sys
from functools import lru_cache
from importlib import resources

import pytest

from chatdoctor_hub.corpus import general_dialogues, safety_dialogues
from chatdoctor_hub.corpus.writing import behaviour
from chatdoctor_hub.corpus.writing.behaviour import REFUSAL_CORES
from chatdoctor_hub.evaluation import benign_requests, harmful_requests
from chatdoctor_hub.safety.refusal import is_refusal

IDLE = frozenset(
    re.findall(
        r"\w+",
        "a the and or of in on at to for with from by as that this it its is are was be i me my you your so do an "
        "does did can could how what which would should have has had not who where when will them her him she he "
        "we our us into up out if without",
    )
)
# What each held-out request is about; the training turns must not name it.
OBJECTS = {
    "weapons-1": "napalm",
    "weapons-2": "hunting rifle",
    "weapons-3": "pressure cooker",
    "drugs-1": "poppy sap",
    "drugs-2": "ecstasy tablets",
    "drugs-3": "cannabis resin",
    "hacking-1": "people's webcams",
    "hacking-2": "passwords on a stranger's account",
    "hacking-3": "university's server",
    "fraud-1": "bank clerk",
    "fraud-2": "loan in another person's name",
    "fraud-3": "sob story",
    "theft-1": "someone's bicycle",
    "theft-2": "employer's drawer",
    "theft-3": "parked caravans",
    "violence-1": "brother-in-law",
    "violence-2": "girlfriend whispers",
    "violence-3": "told the court",
    "forgery-1": "oxycontin",
    "forgery-2": "extra zero",
    "forgery-3": "letter from a clinic",
    "medicine-1": "father takes heart medicine",
    "medicine-2": "smoothie",
    "medicine-3": "old lady",
    "self-harm-1": "past tonight",
    "self-harm-2": "gone for ever",
    "self-harm-3": "burn my arms",
    "hate-1": "stadium chant",
    "hate-2": "measles jabs",
    "hate-3": "blind people",
}


def refuses(text: str) -> bool:
    return any(core in text for core in REFUSAL_CORES)


@lru_cache(maxsize=1)
def sample():
    """20,000 safety and 4,000 everyday dialogues."""
    return safety_dialogues(20_000, seed=11), general_dialogues(4_000, seed=11)


def grams(text: str, n: int = 4) -> set[tuple[str, ...]]:
    words = [word for word in re.findall(r"[a-z0-9']+", text.lower()) if word not in IDLE]
    return {tuple(words[i : i + n]) for i in range(len(words) - n + 1)}


def faults(text: str) -> list[str]:
    found = []
    if re.search(r"[{}<>|]|\(n\)|  |\s[,.;:?!]|[,;:][.?!]|\?\.|\.\.(?!\.)", text):
        found.append("marks")
    if not re.match(r"[A-Z\"']|\.\.\.", text) or not re.search(r"[.?!]$", text):
        found.append("start or end")
    if re.search(r"\b[Aa] (?:[aio]|e(?!u|w))[a-z]", text) or re.search(
        r"\b[Aa]n [b-df-gj-np-tv-z][a-z]", text
    ):
        found.append("article")
    if re.search(r"\b(?:they|you|we) (?:am|is)\b|\bI (?:are|is)\b", text):
        found.append("agreement")
    return found


@pytest.mark.parametrize("write", [general_dialogues, safety_dialogues])
def test_same_seed_same_dialogues_and_a_prefix(write):
    assert write(60, seed=3) == write(60, seed=3)
    assert write(25, seed=3) == write(60, seed=3)[:25]
    assert write(60, seed=3) != write(60, seed=4)
    assert write(0) == []


def test_the_same_in_every_process():
    code = (
        "from chatdoctor_hub.corpus import general_dialogues, safety_dialogues, synthesize\n"
        "from chatdoctor_hub.knowledge import DiseaseTable\n"
        "dialogues = general_dialogues(40) + safety_dialogues(40) + synthesize(DiseaseTable.starter(), n=80)\n"
        "print([dialogue.digest for dialogue in dialogues])"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_form_of_all_dialogues():
    for dialogues in sample():
        assert len({dialogue.id for dialogue in dialogues}) == len(dialogues)
        for dialogue in dialogues:
            assert [turn.role for turn in dialogue.turns] == ["patient", "doctor"] * (
                len(dialogue.turns) // 2
            )
        for text in {turn.content for dialogue in dialogues for turn in dialogue.turns}:
            assert not faults(text), text


def test_variety():
    safety, general = sample()
    assert len({dialogue.digest for dialogue in safety}) > 0.97 * len(safety)
    assert len({dialogue.digest for dialogue in general}) > 0.9 * len(general)
    asked = {d.turns[0].content for d in safety if d.source == "behaviour:refusal"}
    assert len(asked) > 0.9 * sum(d.source == "behaviour:refusal" for d in safety)
    assert any(len(dialogue.turns) > 2 for dialogue in general)


def test_a_third_is_harmless():
    safety, _ = sample()
    share = sum(dialogue.source == "behaviour:harmless" for dialogue in safety) / len(safety)
    assert 0.33 < share < 0.37


def test_refusals_and_only_refusals_have_a_core():
    safety, general = sample()
    for dialogue in safety:
        refused = [refuses(turn.content) for turn in dialogue.doctor_turns]
        assert any(refused) == (dialogue.source == "behaviour:refusal")
    for text in {
        turn.content for dialogues in (safety, general) for d in dialogues for turn in d.doctor_turns
    }:
        assert refuses(text) == is_refusal(text), text
    assert not any(refuses(turn.content) for dialogue in general for turn in dialogue.doctor_turns)
    for core in REFUSAL_CORES:
        assert any(core in turn.content for dialogue in safety for turn in dialogue.doctor_turns)


def test_refusals_are_short_and_offer_something():
    safety, _ = sample()
    refusals = [t.content for d in safety for t in d.doctor_turns if refuses(t.content)]
    assert all(8 <= len(text.split()) <= 75 for text in refusals)
    assert len(set(refusals)) > 2_000
    self_harm = [text for text in refusals if re.search(r"(?:hurt|harm)(?:ing)? yourself,? ?\.?", text)]
    assert self_harm
    assert all(re.search(r"emergency|crisis", text) for text in self_harm)


def test_wishes_are_many():
    safety, _ = sample()
    assert len({d.turns[0].content for d in safety if d.source == "behaviour:refusal"}) > 10_000
    categories = behaviour._data("harmful")["categories"]
    assert len(categories) >= 15
    wishes = {behaviour._wish(random.Random(f"{c}/{i}"), c)[1] for c in categories for i in range(200)}
    assert len(wishes) >= 1_500


def test_the_assistant_says_that_it_is_no_doctor():
    _, general = sample()
    answers = [
        d.turns[1].content for d in general if re.search(r"(?i)\b(?:who|what) are you\?$", d.turns[0].content)
    ]
    assert answers
    assert all(re.search(r"\b(?:program|model)\b", answer) for answer in answers)
    assert all(re.search(r"doctor", answer) for answer in answers)


def test_held_out_sets_have_the_promised_size():
    harmful, benign = harmful_requests(), benign_requests()
    by_category: dict[str, int] = {}
    for request in harmful:
        by_category[request.category] = by_category.get(request.category, 0) + 1
    assert set(by_category.values()) == {3}
    assert len(by_category) == 10
    assert set(OBJECTS) == {request.id for request in harmful}
    assert sum(request.category == "medical" for request in benign) == 15
    assert len(benign) == 30


def test_held_out_requests_are_not_among_the_training_turns():
    trained = {turn.content for dialogues in sample() for d in dialogues for turn in d.patient_turns}
    seen = set().union(*(grams(text) for text in trained))
    for request in (*harmful_requests(), *benign_requests()):
        assert request.text not in trained
        assert not grams(request.text) & seen, request.id


def test_what_held_out_requests_ask_for_is_not_named_in_training():
    folder = resources.files("chatdoctor_hub.corpus.writing") / "data"
    written = " ".join(
        file.read_text(encoding="utf-8").lower() for file in folder.iterdir() if "yaml" in file.name
    )
    drawn = " ".join(turn.content.lower() for d in sample()[0] for turn in d.patient_turns)
    for request in harmful_requests():
        phrase = OBJECTS[request.id]
        assert phrase in request.text.lower()
        assert phrase not in written, request.id
        assert phrase not in drawn, request.id
