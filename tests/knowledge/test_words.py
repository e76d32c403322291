from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.knowledge.searching.words import stems


@pytest.mark.parametrize(
    "forms",
    [
        "cough coughs coughed coughing",
        "itch itchy itching itchiness itches",
        "dizzy dizziness",
        "infection infected infections infects",
        "congestion congested",
        "depression depressed depressive",
        "swelling swollen swells",
        "stiff stiffness",
        "bruise bruises bruised bruising",
        "diarrhea diarrhoea",
        "tumor tumour tumors",
        "hemorrhoid haemorrhoids",
        "allergy allergies allergic",
        "knee knees",
        "breed breeds breeding",
        "toe toes",
        "eye eyes",
        "headache headaches",
        "abdomen belly bellies tummy stomach abdominal",
        "pee peeing urinate urination urine",
        "frequency frequent",
        "sudden suddenly",
        "M\u00e9ni\u00e8re Meniere Meniere's M\u00e9ni\u00e8re\u2019s",
    ],
)
def test_forms_of_one_word_meet(forms: str) -> None:
    assert len({tuple(stems(form)) for form in forms.split()}) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("runny", "running"),
        ("bleed", "blister"),
        ("spring", "spray"),
        ("arm", "army"),
        ("pus", "push"),
        ("loss", "los"),
    ],
)
def test_different_words_stay_apart(one: str, other: str) -> None:
    assert stems(one) != stems(other)


def test_kinds_of_one_disease_stay_apart() -> None:
    assert stems("hepatitis A") != stems("hepatitis B") != stems("hepatitis")
    assert set(stems("type 1 diabetes")) & set(stems("type-2 diabetes")) == {
        *stems("type"),
        *stems("diabetes"),
    }


def test_small_words_go() -> None:
    assert stems("Hi doctor, I've been having a problem with my back for two weeks.") == ["back"]


@given(st.text())
def test_any_text_has_stems_that_do_not_depend_on_case(text: str) -> None:
    assert all(len(stem) > 1 for stem in stems(text))
    assert stems(text.casefold()) == stems(text)
