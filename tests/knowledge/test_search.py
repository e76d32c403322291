from __future__ import annotations

import json
import random
import re
import statistics
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge import Disease, DiseaseTable

STARTER = DiseaseTable.starter()
SMALL = DiseaseTable(
    (
        Disease("Oddpox", ("Spots", "Chest pain"), ("an itch all over",)),
        Disease("Chest cold", ("Cough", "Runny nose", "Arm pain")),
        Disease("Evenpox", ("Stripes", "Fever")),
        Disease("evenpox", ("Stripes", "Fever", "Chills")),
    )
)


def names(table: DiseaseTable, text: str, k: int = 3) -> list[str]:
    return [hit.disease.name for hit in table.search(text, k)]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("burning when I pee and I keep running to the toilet", "Cystitis"),
        ("I get a tight chest and wheeze at night", "Asthma"),
        ("my heel hurts when I take my first steps in the morning", "Plantar fasciitis"),
        ("crushing chest pain going down my left arm", "Heart attack"),
        ("an itchy ring on my arm with a scaly edge", "Ringworm"),
        ("my big toe is red, swollen and very painful overnight", "Gout"),
        ("the room spins when I turn over in bed", "Benign paroxysmal positional vertigo (BPPV)"),
        ("one side of my face suddenly droops and my speech is slurred", "Stroke"),
        ("my child has a barking cough", "Croup"),
        ("watery diarrhoea and vomiting since yesterday", "Viral gastroenteritis"),
        ("watery itchy eyes and sneezing in spring", "Allergic rhinitis"),
        ("I'm thirsty all the time and pee a lot and I have lost weight", "Type 1 diabetes"),
        ("my heart is racing and skipping beats", "Atrial fibrillation"),
        ("a lump in my groin when I cough", "Inguinal hernia"),
        ("I can't fall asleep", "Insomnia"),
        ("I have gout", "Gout"),
    ],
)
def test_what_patients_say_finds_the_disease(text: str, name: str) -> None:
    assert names(STARTER, text)[0] == name


def test_every_starter_disease_is_found_by_its_name_and_by_its_lay_symptoms() -> None:
    assert [d.name for d in STARTER if names(STARTER, d.name)[0] != d.name] == []
    lost = [
        d.name for d in STARTER if d.name not in names(STARTER, f"I have {', '.join(d.lay_symptoms[:3])}.")
    ]
    assert lost == []


@pytest.mark.parametrize(
    "text", ["", "  ", "hello doctor, what is wrong with me?", "xyzzy", "\0", "\U0001f912"]
)
def test_a_text_that_shares_no_word_finds_nothing(text: str) -> None:
    assert STARTER.search(text) == []


def test_hits_come_best_first_above_zero_and_at_most_k() -> None:
    hits = STARTER.search("fever and cough and a headache", 7)
    assert len(hits) == 7
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert min(hit.score for hit in hits) > 0
    assert STARTER.search("fever and cough and a headache", 2) == hits[:2]
    assert len(SMALL.search("stripes", 9)) == 1


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1, found 0"):
        STARTER.search("fever", 0)


def test_words_that_stand_together_count_more() -> None:
    assert names(SMALL, "pain in my chest") == ["Oddpox", "Chest cold"]


def test_rows_of_one_name_compete() -> None:
    (hit,) = SMALL.search("stripes, fever and chills")
    assert hit.disease is SMALL[3]


def test_matched_are_the_rows_own_words_in_order_of_weight() -> None:
    (hit,) = SMALL.search("I am itchy and have pain in the chest, Mr Evenson", 1)
    assert hit.matched == ("Chest pain", "an itch all over")


@given(st.text())
def test_any_text_is_searched(text: str) -> None:
    for hit in STARTER.search(text):
        assert hit.score > 0
        assert hit.matched
        own = {hit.disease.name, *hit.disease.symptoms, *hit.disease.lay_symptoms}
        assert set(hit.matched) <= own


def test_a_long_text_is_cut() -> None:
    assert STARTER.search("x " * 5000 + "gout") == []
    assert names(STARTER, "gout " * 200_000) == ["Gout"]


# The published table: 4,000 dialogues written by a teacher model from its rows.


def queries(shared_data: Path, table: DiseaseTable) -> list[tuple[str, str]]:
    """Patients' questions whose answer names exactly one disease of the table, with that name."""
    records = json.loads((shared_data / "chatdoctor" / "genmedgpt_4000.json").read_text(encoding="utf-8"))
    found = []
    lowered = {disease.name.lower(): disease.name for disease in table}
    # Alternatives, the longest first: "acute bronchitis" is not "bronchitis" as well.
    any_name = re.compile(
        r"(?<!\w)(?:" + "|".join(map(re.escape, sorted(lowered, key=len, reverse=True))) + r")(?!\w)"
    )
    for record in records:
        named = set(any_name.findall(record["output"].lower()))
        if len(named) == 1:
            found.append((record["input"], lowered[named.pop()]))
    return found


def test_the_published_dialogues_find_their_row(shared_data: Path) -> None:
    table = DiseaseTable.from_csv(shared_data / "chatdoctor" / "format_dataset.csv")
    asked = queries(shared_data, table)
    assert len(asked) > 2_500
    sample = random.Random(0).sample(asked, 600)
    ranks = [names(table, text, 5) for text, _ in sample]
    at_one = sum(found[:1] == [name] for found, (_, name) in zip(ranks, sample, strict=True)) / len(sample)
    at_five = sum(name in found for found, (_, name) in zip(ranks, sample, strict=True)) / len(sample)
    assert at_one > 0.46
    assert at_five > 0.67


def test_a_question_to_the_published_table_is_answered_in_milliseconds(shared_data: Path) -> None:
    table = DiseaseTable.from_csv(shared_data / "chatdoctor" / "format_dataset.csv")
    texts = [text for text, _ in queries(shared_data, table)[:60]]
    table.search("build the index")
    seconds = []
    for text in texts:
        start = time.perf_counter()
        table.search(text)
        seconds.append(time.perf_counter() - start)
    # About 0.5 ms on one core at leisure; the goal is 2 ms, and a shared machine may be slower.
    assert statistics.median(seconds) < 0.01
