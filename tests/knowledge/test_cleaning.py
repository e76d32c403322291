from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.knowledge.tables.cleaning import clean_cause, clean_list, clean_text


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        (r"Rotator\'s cuff", "Rotator's cuff"),
        (r"the \"stone\" in a duct", 'the "stone" in a duct'),
        (r"1990\xe2\x80\x932000", "1990\u20132000"),
        (r"M\xc3\xa9ni\xc3\xa8re", "M\u00e9ni\u00e8re"),
        (r"cut off here \xe2\x80", "cut off here"),
        (r"one\ntwo\tthree", "one two three"),
        (r"a back\\slash", "a backslash"),
        ("  outer \r\n inner\u00a0space ", "outer inner space"),
        ("a\x07bell, half a pair \ud83d and a mark\ufeff", "abell, half a pair and a mark"),
        ("", ""),
        (r"\x5cx41", "x41"),
    ],
)
def test_text_is_cleaned(raw: str, clean: str) -> None:
    assert clean_text(raw) == clean


@given(st.text())
def test_cleaning_clean_text_changes_nothing(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    assert clean_cause(clean_cause(text)) == clean_cause(text)
    cleaned.encode("utf-8")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Inflammation of the bladder, ", "Inflammation of the bladder"),
        (" It hurts. It swells, , ", "It hurts. It swells"),
        ("it begins small. It swells,", "it begins small. It swells"),
        (" placebolol nasal product, ", ""),
        ("vaccine one / vaccine two,", ""),
        ("XYZ may refer to: ", ""),
        ("A weak vein can refer to:", ""),
        ("This word may refer to more. Forms include:", "This word may refer to more. Forms include:"),
        ("in small letters, without a comma at its end.", "in small letters, without a comma at its end."),
    ],
)
def test_a_cause_loses_its_last_commas_and_what_is_none_goes(raw: str, clean: str) -> None:
    assert clean_cause(raw) == clean


def test_list_entries_are_cleaned_and_said_once() -> None:
    entries = ["  Fever ", "fever", r"Devil\'S Claw", "", " \t", "Pain, left side", "Vitamin S"]
    assert clean_list(entries) == ("Fever", "Devil's Claw", "Pain, left side", "Vitamin S")
