from __future__ import annotations

import re

import pytest

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge import starter as starter_room

TABLE = DiseaseTable.starter()
# A letter other than U for provisional codes, two characters, then up to four after a point.
ICD10CM = re.compile(r"[A-TV-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?|U07\.1")
DOSE = re.compile(
    r"\d\s*(?:mg|mcg|\u00b5g|\u03bcg|g|ml|milligrams?|micrograms?|grams?|millilit\w+|iu|units?|puffs?|tablets?|drops?)\b",
    re.IGNORECASE,
)


def texts(disease: Disease) -> list[str]:
    medications = [text for m in disease.medications for text in (m.name, *m.examples)]
    lists = (disease.symptoms, disease.lay_symptoms, disease.tests, disease.red_flags, disease.self_care)
    single = [disease.name, disease.cause, disease.see_doctor, disease.source]
    return [*single, *medications, *disease.questions, *(text for entries in lists for text in entries)]


def test_it_holds_at_least_120_diseases_by_name() -> None:
    names = [disease.name for disease in TABLE]
    assert len(names) >= 120
    assert len({name.casefold() for name in names}) == len(names)
    assert names == sorted(names, key=str.casefold)
    assert TABLE.source == "starter"
    assert TABLE.problems == ()


def test_no_two_diseases_share_a_cause_or_a_code() -> None:
    assert len({disease.cause for disease in TABLE}) == len(TABLE)
    assert len({disease.icd10cm for disease in TABLE}) == len(TABLE)
    assert len({disease.see_doctor for disease in TABLE}) == len(TABLE)


def test_every_field_is_filled() -> None:
    for number, disease in enumerate(TABLE, start=1):
        assert len(disease.symptoms) >= 4, disease.name
        assert len(disease.lay_symptoms) >= 4, disease.name
        assert len(disease.tests) >= 1, disease.name
        assert len(disease.medications) >= 1, disease.name
        assert all(medication.examples for medication in disease.medications), disease.name
        assert len(disease.red_flags) >= 2, disease.name
        assert len(disease.self_care) >= 2, disease.name
        assert len(disease.questions) >= 3, disease.name
        assert "ICD-10-CM" in disease.source, disease.name
        assert disease.line == number


def test_codes_have_the_form_of_icd10cm() -> None:
    assert [disease.name for disease in TABLE if not ICD10CM.fullmatch(disease.icd10cm)] == []


def test_texts_are_clean_ascii() -> None:
    for disease in TABLE:
        for text in texts(disease):
            assert text, disease.name
            assert text == " ".join(text.split()), disease.name
            assert text.isascii(), disease.name
        for entries in (disease.symptoms, disease.lay_symptoms, disease.red_flags, disease.questions):
            assert len({entry.casefold() for entry in entries}) == len(entries), disease.name


def test_no_text_names_a_dose() -> None:
    assert DOSE.search("take 500 mg")
    assert [text for disease in TABLE for text in texts(disease) if DOSE.search(text)] == []


def test_sentences_are_whole() -> None:
    for disease in TABLE:
        assert 2 <= len(re.findall(r"[.!?](?= [A-Z]|$)", disease.cause)) <= 3, disease.name
        assert disease.cause.endswith("."), disease.name
        assert len(re.findall(r"[.!?](?= [A-Z]|$)", disease.see_doctor)) == 1, disease.name
        assert disease.see_doctor.endswith("."), disease.name
        assert all(question.endswith("?") for question in disease.questions), disease.name


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("Heart attack", "emergency services"),
        ("Stroke", "emergency services"),
        ("Sepsis", "emergency services"),
        ("Anaphylaxis", "ambulance"),
        ("Meningitis", "ambulance"),
        ("Pulmonary embolism", "ambulance"),
        ("Appendicitis", "emergency department"),
        ("Acute pancreatitis", "emergency department"),
        ("Transient ischemic attack (TIA)", "hospital"),
    ],
)
def test_emergencies_say_that_they_are(name: str, word: str) -> None:
    (disease,) = [disease for disease in TABLE if disease.name == name]
    assert word in disease.see_doctor


@pytest.mark.parametrize(
    "name",
    [
        "Depression",
        "Bipolar disorder",
        "Panic disorder",
        "Post-traumatic stress disorder",
        "Anorexia nervosa",
    ],
)
def test_suicidal_thoughts_are_a_red_flag_of_mental_illness(name: str) -> None:
    (disease,) = [disease for disease in TABLE if disease.name == name]
    assert "thoughts of ending your life" in disease.red_flags


def test_it_is_read_once() -> None:
    assert DiseaseTable.starter() is TABLE


def test_a_damaged_file_is_named(tmp_path, monkeypatch) -> None:
    read = starter_room.read_starter
    monkeypatch.setattr(starter_room.resources, "files", lambda package: tmp_path)
    with pytest.raises(DataNotFoundError, match="install chatdoctor-hub again"):
        read()
    for damaged in ("{", "[]", '{"name": "x"}', '{"name": "x", "symptoms": [], "medications": [], "odd": 1}'):
        (tmp_path / "starter.jsonl").write_text(damaged, encoding="utf-8")
        with pytest.raises(DataFormatError, match=r"line 1 of .*starter.jsonl"):
            read()
