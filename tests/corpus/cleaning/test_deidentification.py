"""What is replaced, what must not be, and what holds for any text at all."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("presidio_analyzer")

from chatdoctor_hub.corpus.cleaning import KINDS, Deidentifier, Finding, deidentify
from chatdoctor_hub.corpus.cleaning.identifiers.deidentification import identifiers
from chatdoctor_hub.corpus.cleaning.identifiers.planted import planted_texts
from chatdoctor_hub.corpus.cleaning.identifiers.presidio_rules import (
    PRESIDIO_KINDS,
    PRESIDIO_RULES,
    whole_text,
)
from chatdoctor_hub.corpus.cleaning.identifiers.view import View
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError

PLANTED = [item.text[item.start : item.end] for item in planted_texts(400, 5, "development")]
CUES = [
    "Dr. ", "Hi ", "Hello Dr ", "Regards,\n", "Thanks, ", "my name is ", "MRN ", "on May 5 ", "call ", "NHS ", "@",
    "医生", "王", "我叫", " 14 Park Road", "[NAME 1]", "[NAME", "\n- ", "www.", ".com", "://", "500 mg", "120/80",
    "\u202e", "\ud800", "\x00", "İ", "ſ", "１２３", "’s", " ", "\n", ".", ",",
]  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(CUES + PLANTED) | st.text(max_size=4), max_size=12).map("".join),
)


def filled(text: str, findings: tuple[Finding, ...], clean: str) -> bool:
    """Whether the clean text is the given one with each finding replaced by one placeholder of its kind."""
    place, rest = 0, clean
    for finding in findings:
        between = text[place : finding.start]
        if not rest.startswith(between + f"[{KINDS[finding.kind].label} "):
            return False
        rest = rest[rest.index("]", len(between)) + 1 :]
        place = finding.end
    return rest == text[place:]


@settings(max_examples=400, deadline=None)
@given(TEXTS)
def test_any_text(text: str) -> None:
    clean, findings = deidentify(text)
    assert all(0 <= finding.start < finding.end <= len(text) for finding in findings)
    assert all(one.end <= other.start for one, other in itertools.pairwise(findings))
    assert filled(text, findings, clean)
    assert deidentify(clean) == (clean, ()), "cleaning again finds nothing new"


@settings(max_examples=300, deadline=None)
@given(TEXTS)
def test_the_cheap_tests_change_nothing(text: str) -> None:
    assert identifiers(text) == identifiers(text, prefilter=False)


@pytest.mark.parametrize("seed", range(3))
def test_neighbourhoods_give_what_the_whole_text_gives(seed: int) -> None:
    rng = random.Random(seed)
    joints = [
        " ",
        ", ",
        ". ",
        "\n",
        " fever ",
        " Dr. ",
        " 500 mg ",
        " call ",
        " 中 ",
        " é ",
        ": ",
        " NHS ",
        " 3.5 ",
        " A1 ",
    ]
    found = 0
    for _ in range(90):
        parts = [rng.choice(PLANTED) + rng.choice(joints) for _ in range(rng.randint(1, 6))]
        view = View("".join(parts))
        for rule in PRESIDIO_RULES:
            near = set(rule.find(view)) if rule.may_match(view) else set()
            assert near == set(whole_text(rule.kind, view)), (rule.kind, view.text)
            found += len(near)
    assert found > 50, "the comparison had nothing to compare"


@pytest.mark.parametrize(
    "text",
    [
        "lactic acid dehydrogenase and anti-tubercular drugs, hydrochlorothiazide, Adderall, syndrome, children",
        "Parkinson's disease, Crohn's, Hodgkin lymphoma, Graves disease, Addison's, Bell's palsy, Down syndrome",
        "500 mg twice, BP 120/80, HbA1c 7.2, T4 1.2, Vitamin D3 60,000 IU, E11.9, L4-L5, 1-0-1, 5/10/15 mg",
        "May I ask? It will leave a mark. Hope and grace. Rose water may help. Will it pass? Mark it.",
        "Hello Doctor, I have pain. Hi Doctor. I've had it. Doctor Please help. Dear Sir, Thank You.",
        "Hi there, welcome. Hello Everyone, Good morning doctor. Thanks. Regards. Thank you so much.",
        "Dr said so. The dr. told me. MS Contin, MR imaging, 120 ms PR interval. I am Diabetic, 45 years old.",
        "I am 34, for 3 days, since March, in 2015, every Monday, at 8:30, aged 72, in May 2018",
        "platelets 250000, RBC 4500000, CA-125 35, WBC 11,500, 24 hr protein 3125 mg, size 3.9x4.1x4.5 cm",
        "The pain.in my leg is bad.my doctor agrees. 5 mg.am and 5 mg.pm @night",
        "由于医生不在，谢谢医生，一周医生，主治医生说，白天医生多，血压120/80，3天，每次2片。",
        "Hello Ma'am, it's bad. My drug name is Metformin. my name is not important. - Metformin\n- Aspirin",
        "In case no. 3 fails, see page 4. The file number is long. patient id please.",
    ],
)
def test_words_that_must_stay(text: str) -> None:
    assert deidentify(text) == (text, ())


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("Hello Dr. Smith, it hurts.", "Hello Dr. [NAME 1], it hurts."),
        ("Dr. Parkinson treats Parkinson's disease.", "Dr. [NAME 1] treats Parkinson's disease."),
        ("Dr. Rose said it. Doctor Will it heal?", "Dr. [NAME 1] said it. Doctor Will it heal?"),
        ("Regards, Dr. A. K. Sharma, MD", "Regards, Dr. [NAME 1], MD"),
        ("Take CareDr.Indu Bhushan", "Take CareDr.[NAME 1]"),
        ("with regards dr varinder joshi", "with regards dr [NAME 1]"),
        ("Hi John, hello JOHN!", "Hi [NAME 1], hello [NAME 1]!"),
        ("Hi, welcome to Chat Doctor forum.", "Hi, welcome to [PLATFORM 1] forum."),
        ("welcome to healthcaremagicI am Dr. Kakkar.", "welcome to [PLATFORM 1]I am Dr. [NAME 1]."),
        ("My MRN is 00123456, DOB 12/03/1980.", "My MRN is [NUMBER 1], DOB [DATE 1]."),
        ("I live at 14 Park Road, Leeds LS2 9JT.", "I live at [ADDRESS 1], Leeds [POSTCODE 1]."),
        ("王医生您好，我叫李小明，今年35岁。", "[NAME 1]医生您好，我叫[NAME 2]，今年35岁。"),
        ("身份证11010519491231002X，手机13812345678。", "身份证[ID 1]，手机[PHONE 1]。"),
        ("邮箱abc@qq.com，２０１５年３月１２日", "邮箱[EMAIL 1]，[DATE 1]"),
        ("[NAME 3] and Dr. Patel", "[NAME 3] and Dr. [NAME 4]"),
    ],
)
def test_what_is_replaced(text: str, clean: str) -> None:
    assert deidentify(text)[0] == clean


def test_a_wrong_check_digit_is_no_identity_number() -> None:
    assert "chinese_id" not in {finding.kind for finding in deidentify("身份证110105194912310021。")[1]}


def test_findings_never_hold_the_value() -> None:
    findings = deidentify("Hi John, mail jane@example.org")[1]
    assert [finding.kind for finding in findings] == ["greeting_name", "email"]
    assert "John" not in repr(findings)
    assert "jane" not in repr(findings)


def test_a_dialogue_keeps_one_placeholder_for_one_value() -> None:
    dialogue = Dialogue(
        (
            Turn("patient", "Hi Dr. Smith, my name is Mary Jones."),
            Turn("doctor", "Hello MARY JONES, call me on +1 212-555-0187."),
            Turn("patient", "Thanks, Dr. SMITH. Is the mobile 1 212 555 0187?"),
        ),
        id="7",
        source="here",
    )
    clean, findings = Deidentifier().dialogue(dialogue)
    assert [turn.content for turn in clean.turns] == [
        "Hi Dr. [NAME 1], my name is [NAME 2].",
        "Hello [NAME 2], call me on [PHONE 1].",
        "Thanks, Dr. [NAME 1]. Is the mobile [PHONE 1]?",
    ]
    assert (clean.id, clean.source) == ("7", "here")
    assert [finding.turn for finding in findings] == [0, 0, 1, 1, 2, 2]
    assert Deidentifier().dialogue(clean) == (clean, ())


def test_a_dialogue_without_identifiers_is_the_same_object() -> None:
    dialogue = Dialogue((Turn("patient", "I have a cough."),))
    assert Deidentifier().dialogue(dialogue)[0] is dialogue


def test_chosen_kinds() -> None:
    text = "Hi John, mail jane@example.org"
    assert Deidentifier(["email"]).text(text)[0] == "Hi John, mail [EMAIL 1]"
    assert Deidentifier([]).text(text) == (text, ())
    with pytest.raises(ConfigError, match="found shoe_size"):
        Deidentifier(["shoe_size"])
    with pytest.raises(ConfigError, match="one text"):
        Deidentifier("email")


def test_placeholders_are_plain_ascii_and_every_kind_says_what_it_covers() -> None:
    assert all(kind.label.isascii() and kind.label.isupper() for kind in KINDS.values())
    assert all(kind.covers.endswith(".") and kind.leaves.endswith(".") for kind in KINDS.values())
    assert set(KINDS) >= PRESIDIO_KINDS


@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "1 ",
        "1.",
        "a@",
        "Dr. Smith said. ",
        "Hi John, ",
        "www.",
        "mrn 12345 ",
        "王医生",
        "May 5 ",
        "regards ",
        ":",
        " ",
    ],
)
def test_hostile_texts_take_time_in_proportion(piece: str) -> None:
    deidentify("warm@example.org")
    text = piece * (20_000 // len(piece))
    start = time.perf_counter()
    deidentify(text)
    assert time.perf_counter() - start < 5


FRESH = """
import sys
from chatdoctor_hub.corpus.cleaning import deidentify
clean, _ = deidentify("mail a@b.co.uk, on 2015-03-12, call +1 212-555-0187, card 4111 1111 1111 1111")
assert clean == "mail [EMAIL 1], on [DATE 1], call [PHONE 1], card [CARD 1]", clean
heavy = {"presidio_analyzer", "spacy", "torch", "transformers"} & {name.split(".")[0] for name in sys.modules}
assert not heavy, heavy
"""


def test_presidio_comes_without_its_language_models() -> None:
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


WITHOUT = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "presidio_analyzer" else real(name, *a)
from chatdoctor_hub.corpus.cleaning import Deidentifier
from chatdoctor_hub.errors import MissingExtraError
assert Deidentifier(["titled_name"]).text("Dr. Smith")[0] == "Dr. [NAME 1]"
try:
    Deidentifier()
except MissingExtraError as error:
    assert "chatdoctor-hub[deidentify]" in str(error)
else:
    raise SystemExit("no error")
"""


def test_without_presidio() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
