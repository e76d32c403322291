from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.searching.lexicon import read_lexicon
from chatdoctor_hub.knowledge.searching.negation import affirmed
from chatdoctor_hub.knowledge.searching.questions import question_clauses, question_stems
from chatdoctor_hub.knowledge.searching.words import stems


def meant(text: str, what: str) -> bool:
    """Whether all stems of `what` are among those of the question."""
    return set(stems(what)) <= set(question_stems(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("it stings when I pee", "painful urination"),
        ("Peeing burns.", "painful urination"),
        ("I run to the bathroom", "frequent urination"),
        ("I keep throwing up", "vomiting"),
        ("my tummy aches", "abdominal pain"),
        ("tummy ache", "abdominal pain"),
        ("I can't pee", "retention of urine"),
        ("I am unable to pee", "retention of urine"),
        ("my ticker is racing", "palpitations heart"),
        ("I have the runs", "diarrhea"),
        ("she passed out", "fainting"),
        ("my head is pounding", "headache"),
        ("my throat hurts", "sore throat"),
        ("loose stools", "diarrhea"),
        ("I have not been sleeping", "insomnia"),
        ("I can't fall asleep", "insomnia"),
        ("pins and needles", "numbness"),
        ("my hair is falling out", "hair loss"),
        ("I have no appetite", "decreased appetite"),
        ("no feeling in my left hand", "loss of sensation"),
        ("everything is spinning", "dizziness"),
        ("my nose is all stuffed up", "nasal congestion"),
        ("I coughed up some blood", "hemoptysis"),
        ("I see floaters", "spots in vision"),
        ("I can't get pregnant", "infertility"),
        ("it hurts when I breathe", "breathing pain"),
        ("I haven't pooped for a week", "constipation"),
        ("I have put on a lot of weight", "weight gain"),
    ],
)
def test_turns_of_phrase_are_understood(text: str, what: str) -> None:
    assert meant(text, what)


def test_turns_of_phrase_widen_a_question_and_only_that() -> None:
    assert stems("I keep throwing up") == ["throw"]
    assert question_stems("I pass the salt, needles out") == stems("I pass the salt, needles out")


@pytest.mark.parametrize(
    ("text", "denied", "kept"),
    [
        ("I have a cough but no fever", "fever", "cough"),
        ("no fever, chills or rash, just a cough", "fever chills rash", "cough"),
        ("a sore throat without a rash", "rash", "sore throat"),
        ("a headache without fever or vomiting", "fever vomiting", "headache"),
        ("he denies chest pain. Dizzy.", "chest pain", "dizzy"),
        ("I'm not coughing, my nose is runny", "cough", "runny nose"),
        ("I don't have any fever, and my ear hurts", "fever", "ear"),
        ("I have not had any bleeding; itching", "bleeding", "itching"),
        ("there's no swelling but it itches", "swelling", "itch"),
        ("it doesn't itch, it is red", "itch", "red"),
        ("never had seizures, dizzy", "seizures", "dizzy"),
        ("cough, no fever, and a headache", "fever", "cough headache"),
        ("free of rash, with fever", "rash", "fever"),
    ],
)
def test_what_is_denied_is_not_asked_for(text: str, denied: str, kept: str) -> None:
    asked = set(question_stems(text))
    assert not set(stems(denied)) & asked
    assert set(stems(kept)) <= asked


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("I can't sleep", "sleep"),
        ("no appetite", "appetite"),
        ("unable to pee", "pee"),
        ("the cough doesn't go away", "cough"),
        ("no energy and weak", "energy weak"),
        ("I'm not able to move my arm", "arm"),
        ("I don't know why I have a fever", "fever"),
        ("my fever is not getting better", "fever"),
        ("no, I have a fever", "fever"),
        ("I haven't slept, my head hurts", "head"),
        ("not only a cough, fever too", "cough fever"),
        ("without", ""),
        ("no", ""),
    ],
)
def test_what_is_missed_is_a_symptom_and_no_denial(text: str, kept: str) -> None:
    assert set(stems(kept)) <= set(question_stems(text))


def test_a_denial_changes_what_is_found() -> None:
    table = DiseaseTable((Disease("Oddpox", ("Fever", "Cough")), Disease("Evenpox", ("Fever", "Rash"))))
    assert [hit.disease.name for hit in table.search("fever, no rash but a cough")] == ["Oddpox", "Evenpox"]
    assert table.search("no fever") == []


def test_clauses_leave_out_what_is_denied() -> None:
    assert question_clauses("I have a cough and a headache, but no fever.") == [
        "i have a cough",
        "a headache",
    ]
    assert question_clauses("?!") == []


def test_every_saying_of_the_lexicon_finds_its_meaning() -> None:
    """Each saying, written out with its first words, must be recognised: none is out of reach."""
    lexicon = read_lexicon()
    assert len(lexicon.same) > 350
    sayings = {found for many in lexicon.phrases.values() for found in many}
    assert len(sayings) > 350
    lost = []
    for saying, meaning in sayings:
        elements = [part for part in saying.split() if part != ".."]
        words = [part.removesuffix("?").split("|")[0].removesuffix("*") for part in elements]
        if meaning not in lexicon.meanings(words):
            lost.append(saying)
        assert stems(meaning), meaning
    assert lost == []


SOME = ["no", "not", "without", "i", "have", "a", "fever", "cough", ",", ".", "or", "and", "but", "sleep"]
WORDS = st.lists(st.sampled_from(SOME))


@given(WORDS)
def test_denials_only_take_words_away(words: list[str]) -> None:
    kept = affirmed(words, ("sleep",))
    left = iter(words)
    assert all(word == "." or word in left for word in kept)
    if not {"no", "not", "without"} & set(words):
        assert kept == words


@given(st.text())
def test_any_text_is_a_question(text: str) -> None:
    assert all(stem == "" or len(stem) > 1 for stem in question_stems(text))
    assert all(question_clauses(text))
