from __future__ import annotations

import random
from functools import lru_cache

import pytest

from chatdoctor_hub.corpus.writing.synthesis import synthesize
from chatdoctor_hub.corpus.writing.teaching.lexicon import Lexicon, row_text
from chatdoctor_hub.corpus.writing.teaching.teacher_checks import check_dialogue, is_urgent
from chatdoctor_hub.knowledge import Disease, DiseaseTable, Medication
from chatdoctor_hub.proportion import Proportion

GOUT = Disease(
    name="Gout (podagra)",
    symptoms=("acute joint pain", "swelling"),
    cause="Crystals of uric acid, more often in people with kidney stones.",
    tests=("uric acid blood test", "joint X-ray"),
    medications=(Medication("xanthine oxidase inhibitors", ("allopurinol",)), Medication("Naproxen (Aleve)")),
    see_doctor="See a doctor within a day for a first attack.",
)
FLU = Disease(
    name="Influenza", symptoms=("fever",), tests=("throat swab",), medications=(Medication("Oseltamivir"),)
)
LEXICON = Lexicon([GOUT, FLU])
OPENING = ("patient", "My big toe is red and it hurts a lot since last night.")
ADVICE = (
    "I am sorry about the pain. What you describe may be gout, though only an examination can tell for sure. Please "
    "rest the foot, keep it raised and cool, drink enough water, and leave out beer for now. See a doctor within a day."
)


def kinds(*doctor: str, row: Disease = GOUT, multi_turn: bool = False) -> set[str]:
    turns = [OPENING]
    for number, text in enumerate(doctor):
        turns += [("patient", "For two days now.")] if number else []
        turns.append(("doctor", text))
    return {fault.kind for fault in check_dialogue(turns, row, LEXICON, multi_turn=multi_turn)}


def test_a_good_answer():
    assert kinds(ADVICE) == set()
    assert kinds("Since when does it hurt?", ADVICE, multi_turn=True) == set()


@pytest.mark.parametrize(
    "more",
    [
        "Allopurinol and Aleve are often given.",
        "An x-ray of the joint or a blood test can help.",
        "People with kidney stones have it more often.",
        "Do you have diabetes?",
    ],
)
def test_what_the_row_speaks_of_may_be_named(more):
    assert kinds(f"{ADVICE} {more}") == set()


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("Tamiflu may help.", "drug"),
        ("Take some paracetamol.", "drug"),
        ("An antibiotic may help.", "drug"),
        ("You could try fantomycin.", "drug"),
        ("We will take a throat swab.", "test"),
        ("An MRI would show it.", "test"),
        ("It could also be the flu.", "diagnosis"),
        ("It could also be toenailitis.", "diagnosis"),
        ("We must rule out sepsis.", "diagnosis excluded"),
        ("Take 100 mg of allopurinol.", "dose"),
        ("Take allopurinol twice a day.", "dose"),
        ("You definitely have it.", "certainty"),
        ("\n\nPatient: thank you.", "label"),
        ("Ask Dr. [Name].", "placeholder"),
        ("I am an AI and no doctor.", "refusal"),
        ("祝您早日康复，多喝水。", "language"),
    ],
)
def test_what_the_row_does_not_speak_of(more, kind):
    assert kind in kinds(f"{ADVICE} {more}")


@pytest.mark.parametrize(
    "first",
    [
        "You should rest. Since when does it hurt?",
        "This may be gout. Since when does it hurt?",
        "An X-ray will help. Since when does it hurt?",
        "Allopurinol helps. Since when does it hurt?",
        "I see.",
    ],
)
def test_the_first_turn_only_asks(first):
    assert kinds(first, ADVICE, multi_turn=True) & {"advice first", "no question first"}


def test_an_emergency_comes_first():
    stroke = Disease(
        "Stroke", ("weak arm",), see_doctor="Call an ambulance at once.", tests=("CT scan of the head",)
    )
    assert is_urgent(stroke)
    assert not is_urgent(GOUT)
    advice = ADVICE.replace("gout", "a stroke")
    first = "You should call an ambulance at once. When did it start?"
    assert kinds(first, advice, row=stroke, multi_turn=True) == set()
    assert "advice first" in kinds(first, ADVICE, multi_turn=True)


def test_form():
    def of(*turns, multi_turn=False):
        return {fault.kind for fault in check_dialogue(turns, GOUT, LEXICON, multi_turn=multi_turn)}

    assert of() == {"empty"}
    assert of(OPENING, ("doctor", " ")) == {"empty"}
    assert of(("doctor", ADVICE), OPENING) == {"roles"}
    assert of(OPENING) >= {"roles"}
    assert "number of turns" in of(OPENING, ("doctor", ADVICE), multi_turn=True)
    assert "length" in of(("patient", "Toe!"), ("doctor", ADVICE))
    assert "length" in of(OPENING, ("doctor", "It may be gout."))
    assert "no finding" in of(OPENING, ("doctor", ADVICE.replace("gout", "many things")))


@lru_cache(maxsize=1)
def grounded():
    """Dialogues that keep to their rows, since grammars wrote them."""
    table = DiseaseTable.starter()
    return table, Lexicon(table), synthesize(table, 200, seed=7)


def turns_of(dialogue):
    return [(turn.role, turn.content) for turn in dialogue.turns]


def test_grounded_dialogues_pass():
    table, lexicon, dialogues = grounded()
    rows = {row.name: row for row in table}
    passed = Proportion.of(
        not check_dialogue(turns_of(item), rows[item.topic], lexicon, multi_turn=len(item.turns) > 2)
        for item in dialogues
    )
    print(f"grounded dialogues that pass: {passed}")
    assert passed.rate >= 0.98


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("drug", "You can take {}."), ("test", "We will order {}."), ("diagnosis", "You may have {}.")],
)
def test_what_another_row_has_is_found(kind, sentence):
    table, lexicon, dialogues = grounded()
    rows = {row.name: row for row in table}
    rng = random.Random(0)
    found = []
    for dialogue in dialogues:
        row, other = rows[dialogue.topic], rng.choice(table)
        names = {
            "drug": [drug for item in other.medications for drug in item.examples or (item.name,)],
            "test": list(other.tests),
            "diagnosis": [other.name],
        }[kind]
        name = rng.choice(names or [""]).lower()
        if not name or name in row_text(row).lower():
            continue
        turns = turns_of(dialogue)
        turns[-1] = ("doctor", f"{turns[-1][1]} {sentence.format(name)}")
        faults = check_dialogue(turns, row, lexicon, multi_turn=len(turns) > 2)
        found.append(any(fault.kind.startswith(kind) for fault in faults))
    share = Proportion.of(found)
    print(f"{kind} of another row found: {share}")
    assert share.rate >= 0.95
