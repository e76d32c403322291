from __future__ import annotations

import random
import re
import time
from collections import Counter
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.writing.interview import answer, is_duration_question
from chatdoctor_hub.corpus.writing.synthesis import synthesize
from chatdoctor_hub.corpus.writing.wording import RowWords, lead_in, listed, your
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge import Disease, DiseaseTable, Medication

GOUT = Disease(
    name="Gout",
    symptoms=("acute joint pain",),
    lay_symptoms=("a hot big toe", "a pain in my foot", "a swollen ankle", "lumps near my joints"),
    cause="Gout is a joint inflammation set off by crystals of uric acid. Alcohol plays a part.",
    tests=("uric acid blood test", "joint X-ray if an injury is possible"),
    medications=(Medication("xanthine oxidase inhibitors", ("allopurinol",)),),
    red_flags=("a hot joint with fever", "severe diarrhea"),
    see_doctor="See a doctor within a day for a first attack.",
    self_care=("rest the joint", "drink water"),
    questions=("How long has the joint hurt?", "Do you have a fever?", "Which joint hurts, and since when?"),
)


@lru_cache(maxsize=1)
def starter():
    return synthesize(DiseaseTable.starter(), n=2000)


def main_answer(dialogue):
    return max((turn.content for turn in dialogue.doctor_turns), key=len)


def faults(text: str) -> list[str]:
    found = []
    if re.search(r"[{}<>|]|\(n\)|  |\s[,.;:?!]|[,;:][.?!]|,,|\?\.|\.\.", text):
        found.append("marks")
    if not re.match(r"[A-Z\"']", text) or not re.search(r"[.?!]$", text):
        found.append("start or end")
    if re.search(r"(?<!e\.g)(?<!i\.e)[.?!] [a-z]", text):
        found.append("capital")
    if re.search(r"(?:\ba|(?:^|[.?!] )A) (?:[aio]|e(?!u|w))[a-z]", re.sub(r"\b[Aa] one", "", text)):
        found.append("a before a vowel")
    if re.search(r"\b[Aa]n [b-df-gj-np-tv-z][a-z]", text):
        found.append("an before a consonant")
    if re.search(r"\b(?:a|an|the|my|your) (?:a|an|the|my|your|and|or)\b", text):
        found.append("words clash")
    return found


def test_same_seed_same_dialogues_and_a_prefix():
    table = DiseaseTable.starter()
    assert synthesize(table, n=80, seed=5) == synthesize(table, n=80, seed=5)
    assert synthesize(table, n=30, seed=5) == synthesize(table, n=80, seed=5)[:30]
    assert synthesize(table, n=80, seed=5) != synthesize(table, n=80, seed=6)
    assert synthesize(table, n=0) == []


def test_provenance():
    table = DiseaseTable.starter()
    dialogues = starter()
    assert {dialogue.source for dialogue in dialogues} == {f"synthetic:{table.source}"}
    assert {dialogue.topic for dialogue in dialogues} == {row.name for row in table}
    assert len({dialogue.id for dialogue in dialogues}) == len(dialogues) == 2000


def test_every_row_comes_up_as_often_as_the_others():
    counts = Counter(dialogue.topic for dialogue in starter())
    assert max(counts.values()) - min(counts.values()) <= 1


def test_turns_alternate_and_the_doctor_has_the_last_word():
    for dialogue in starter():
        assert [turn.role for turn in dialogue.turns] == ["patient", "doctor"] * (len(dialogue.turns) // 2)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.0), (0.4, 0.35, 0.45), (1.0, 1.0, 1.0)])
def test_share_of_dialogues_in_which_the_doctor_asks(share, low, high):
    dialogues = starter() if share == 0.4 else synthesize(DiseaseTable.starter(), n=200, multi_turn=share)
    asking = [dialogue for dialogue in dialogues if len(dialogue.turns) > 2]
    assert low <= len(asking) / len(dialogues) <= high
    assert all(dialogue.turns[1].content.endswith("?") for dialogue in asking)


def test_variety():
    dialogues = starter()
    assert len({dialogue.turns[0].content for dialogue in dialogues}) >= 0.95 * len(dialogues)
    assert len({main_answer(dialogue) for dialogue in dialogues}) >= 0.95 * len(dialogues)


def test_length_of_answers():
    lengths = [len(main_answer(dialogue).split()) for dialogue in starter()]
    assert min(lengths) >= 40
    assert max(lengths) <= 110


def test_language_is_clean():
    for text in {turn.content for dialogue in starter() for turn in dialogue.turns}:
        assert not faults(text), text


def test_nothing_is_claimed_as_certain():
    for dialogue in starter():
        text = main_answer(dialogue).lower()
        assert not re.search(
            r"\b(?:this is|it is|you have|you are suffering from) (?:clearly |certainly )", text
        )
        assert re.search(
            r"\b(?:could|may|might|can|possib\w+|would think|consider|one explanation|would fit)\b", text
        )


def test_medicines_come_from_the_row_alone():
    table = list(DiseaseTable.starter())
    known = {example.lower() for row in table for drug in row.medications for example in drug.examples}
    own = {row.name: str(row).lower() for row in table}
    for dialogue in starter()[:600]:
        said = " ".join(turn.content for turn in dialogue.doctor_turns).lower()
        strange = [name for name in known if f" {name} " in f" {said} " and name not in own[dialogue.topic]]
        assert not strange, (dialogue.topic, strange)


def test_safety_is_always_spoken_of():
    rows = {row.name: row for row in DiseaseTable.starter()}
    for dialogue in starter():
        said = " ".join(turn.content for turn in dialogue.doctor_turns)
        row = rows[dialogue.topic]
        assert row.see_doctor in said or any(flag[1:] in said for flag in row.red_flags)


def test_an_emergency_is_said_first():
    rows = {row.name: row for row in DiseaseTable.starter() if "ambulance" in row.see_doctor}
    assert rows
    for dialogue in (one for one in starter() if one.topic in rows):
        said = dialogue.turns[1].content
        assert said.find(rows[dialogue.topic].see_doctor) in range(90), said


def test_fast_enough():
    table = DiseaseTable.starter()
    synthesize(table, n=10)
    start = time.process_time()
    synthesize(table, n=2000)
    assert time.process_time() - start < 2.5  # about 0.7 s on one quiet core


def test_a_row_with_a_symptom_only():
    table = [Disease("Corneal disorder", ("Pain in eye", "Eye redness", "Diminished vision"))]
    for dialogue in synthesize(table, n=60):
        assert 40 <= len(main_answer(dialogue).split()) <= 110
        for turn in dialogue.turns:
            assert not faults(turn.content), turn.content
        assert "Pain in eye" not in dialogue.turns[0].content
        assert dialogue.source == "synthetic:table"


def test_one_symptom_is_enough_and_none_is_too_few():
    assert len(synthesize([Disease("Flat feet", ("Foot or toe pain",)), Disease("Empty", ())], n=20)) == 20
    with pytest.raises(DataFormatError, match="at least one disease that has a symptom"):
        synthesize([Disease("Empty", ("",))], n=1)


def test_marks_in_a_table_are_no_grammar():
    table = [Disease("Odd {name}", ("pain <here|there>", "a {slot}"), see_doctor="See a doctor for {this}.")]
    assert all(dialogue.turns for dialogue in synthesize(table, n=30))


entry = st.text(alphabet="abc XYZ{}<>|.,'-()\\;", max_size=20)
entries = st.lists(entry, max_size=4).map(tuple)


@settings(max_examples=60, deadline=None)
@given(st.builds(Disease, name=entry, symptoms=entries, lay_symptoms=entries, cause=entry, tests=entries,
                 red_flags=entries, see_doctor=entry, self_care=entries, questions=entries))  # fmt: skip
def test_any_row_gives_dialogues_or_a_clear_error(row):
    if any(symptom.strip() for symptom in (*row.symptoms, *row.lay_symptoms)):
        assert all(turn.content for dialogue in synthesize([row], n=3) for turn in dialogue.turns)
    else:
        with pytest.raises(DataFormatError, match="symptom"):
            synthesize([row], n=3)


def test_the_published_table(shared_data):
    table = DiseaseTable.from_csv(shared_data / "chatdoctor" / "format_dataset.csv")
    dialogues = synthesize(table, n=1600)
    assert len({dialogue.topic for dialogue in dialogues}) > 700
    lengths = [len(main_answer(dialogue).split()) for dialogue in dialogues]
    assert min(lengths) >= 40
    assert max(lengths) <= 110
    assert len({main_answer(dialogue) for dialogue in dialogues}) >= 0.95 * len(dialogues)


# --- how entries read


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Type 2 diabetes", "type 2 diabetes"),
        ("COVID-19", "COVID-19"),
        ("Parkinson's disease", "Parkinson's disease"),
        ("Athlete's foot", "athlete's foot"),
        ("Ankle sprain", "a(n) ankle sprain"),
        ("Middle ear infection (otitis media)", "a(n) middle ear infection"),
        ("Injury to the finger", "a(n) injury to the finger"),
        ("Vitamin B12 deficiency", "a(n) vitamin B12 deficiency"),
    ],
)
def test_names_of_diseases(name, said):
    assert RowWords.of(Disease(name, ("pain",))).disease == said


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("Sharp chest pain", "sharp chest pain"),
        ("Skin rash", "a(n) skin rash"),
        ("Symptoms of the kidneys", "trouble with the kidneys"),
        ("Hurts to breath", "pain on breathing"),
        ("Blood in stool", "blood in the stool"),
        ("Irregular appearing scalp", "a scalp that looks unusual"),
    ],
)
def test_symptoms_of_clinical_columns(entry, said):
    assert RowWords.of(Disease("X", (entry,))).symptoms == (said,)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("Complete blood count (Cbc)", ("a(n) complete blood count",)),
        ("Plain x-ray (X ray)", ("a(n) plain X-ray",)),
        ("X-rays of the hands and feet", ("X-rays of the hands and feet",)),
        ("allergy testing", ("allergy testing",)),
        ("blood count and inflammation markers", ("a(n) blood count and inflammation markers",)),
        ("Other therapeutic procedures", ()),
        ("Procedures on spleen (Spleen operation)", ()),
    ],
)
def test_tests_of_tables(entry, said):
    assert RowWords.of(Disease("X", ("pain",), tests=(entry,))).tests == said


@pytest.mark.parametrize(
    ("medication", "said"),
    [
        (Medication("statins", ("atorvastatin", "rosuvastatin")), "statins such as atorvastatin or rosuvastatin"),
        (Medication("antibiotics for bacterial cases", ("doxycycline",)),
         "antibiotics for bacterial cases (for example doxycycline)"),
        (Medication("Erythromycin Ophthalmic"), "erythromycin ophthalmic"),
        (Medication("Fluconazole (Diflucan)"), "fluconazole"),
        (Medication("H2 receptor antagonists"), "H2 receptor antagonists"),
    ],
)  # fmt: skip
def test_medications_of_tables(medication, said):
    assert RowWords.of(Disease("X", ("pain",), medications=(medication,))).medications == (said,)


def test_causes_are_quoted_only_when_clean():
    def causes(text):
        return RowWords.of(Disease("X", ("pain",), cause=text)).causes

    assert causes(GOUT.cause) == ("Gout is a joint inflammation set off by crystals of uric acid.",)
    assert causes(" gentian violet topical,") == ()
    assert causes("Hypothyroidism /\\xcb\\x8c/ is a state of too little hormone in the body.") == ()


def test_lead_in_only_where_it_reads_well():
    assert lead_in("Germs reach the small air sacs.", "pneumonia") == "germs reach the small air sacs."
    assert lead_in("Gout is a painful illness.", "gout") == ""
    assert lead_in("This is an autoimmune disease.", "rheumatoid arthritis") == ""


def test_small_words():
    assert (
        your("a pain in my knee when I climb, I'm told") == "a pain in your knee when you climb, you're told"
    )
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a and b", "c"], "or") == "a and b or c"
    assert listed(["a and b", "c"]) == "a and b, and c"


# --- consistent answers


def reply(question, told=("a hot big toe",), untold=("a swollen ankle",), seed=0):
    return answer(question, random.Random(seed), told=told, untold=untold, time="two days")


def test_what_was_told_is_confirmed_and_danger_denied():
    for seed in range(30):
        assert reply("Is your toe red?", seed=seed)[0].startswith("Yes, it is")
        assert reply("Have you passed out or had chest pain?", seed=seed)[0].startswith("No, I haven't")
        assert reply("Have you noticed that an ankle swells?", seed=seed) is not None
    assert reply("Do you have swelling of the ankle?")[1] == ("a swollen ankle",)


def test_thoughts_of_self_harm_are_never_confirmed():
    for seed in range(30):
        said = reply("Have you had thoughts of harming yourself?", told=("dark thoughts",), seed=seed)
        assert said == ("No, I haven't.", ())


def test_durations():
    assert is_duration_question("How long has the joint hurt?")
    assert reply("How long has the joint hurt?") == ("For two days.", ())
    assert reply("When did the pain begin?") == ("It started two days ago.", ())
    assert not is_duration_question("How long does each attack last?")


@pytest.mark.parametrize(
    "question",
    [
        "Which joint hurts, and how fast did it come on?",
        "Did it come on suddenly or slowly?",
        "Does eating make the pain better or worse?",
        "What work do you do?",
        "How long does each attack last?",
        "Can you bend your chin down to your chest?",
    ],
)
def test_questions_that_need_a_story_are_not_asked(question):
    assert reply(question) is None


def test_the_opening_does_not_say_what_the_doctor_then_asks():
    for dialogue in synthesize([GOUT], n=300, multi_turn=1.0):
        if "How long has the joint hurt?" in " ".join(turn.content for turn in dialogue.doctor_turns):
            assert not re.search(
                r"(?:days?|weeks?|months?) ago|\bfor (?:a (?!while)|about|two|three|four|five|six|almost|several)\b",
                dialogue.turns[0].content,
            )


def test_a_symptom_that_was_told_is_not_asked_for():
    for dialogue in synthesize([GOUT], n=300, multi_turn=1.0):
        for item in GOUT.lay_symptoms:
            if item in dialogue.turns[0].content:
                asked = [t.content for t in dialogue.doctor_turns if t.content.endswith("?")]
                assert not any(
                    re.search(rf"(?:also have|noticed|have) {re.escape(your(item))}(?: too|,|\?)", q)
                    for q in asked
                )
