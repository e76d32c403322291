from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.corpus.writing.grammar import Grammar, draw, pick, read_data, tidy
from chatdoctor_hub.errors import DataFormatError

SHIPPED = ("patient", "doctor", "requests", "harmful", "lookalikes", "general")
# What a caller would give; phrases that need an article carry the mark that settles it.
VALUES = {
    "all": "a cough and an ache in my side",
    "first": "a cough",
    "rest": "an ache in my side",
    "time": "two days",
    "past": "two days",
    "disease": "a(n) ear infection",
    "age": "41",
    "answers": "Yes, I do.",
    "answer": "yes",
    "signs": "a cough and an ache in your side",
    "sign": "a cough",
    "cause": "germs have reached the ear.",
    "tests": "a(n) ultrasound scan and a(n) urine test",
    "meds": "antibiotics such as amoxicillin",
    "care": "rest and drink enough",
    "care_one": "rest",
    "care_two": "drink enough",
    "flags": "a stiff neck or confusion",
    "see": "See a doctor soon.",
    "others": "fever and chills",
    "questions": "Do you have a fever?",
    "question": "Do you have a fever?",
    "topic": "that kind of thing",
    "reason": "people could be hurt",
    "offer": "I can talk about safety",
    "core": "I can't help with",
    "task": "open a tin",
    "theirs": "open a tin",
}
# Parts of sentences, which no caller shows by themselves.
FRAGMENTS = {
    ("doctor", "asking"),
    ("requests", "prefix"),
    ("requests", "greeting"),
    ("requests", "suffix"),
    ("requests", "full_suffix"),
    ("requests", "ask_suffix"),
    ("patient", "greeting"),
    ("harmful", "hidden"),
    ("general", "bridge"),
    ("general", "sure"),
    ("general", "simply"),
    ("lookalikes", "sure"),
}


def greetings(**rules: list[str]) -> Grammar:
    return Grammar("greetings@1", rules, ("name",))


def faults(text: str) -> list[str]:
    """What is wrong with a finished text, for any reader."""
    found = []
    if re.search(r"[{}<>|]|\(n\)", text):
        found.append("mark left")
    if "  " in text or re.search(r"\s[,.;:?!]", text) or re.search(r"[,;:][.?!]|,,|\?\.|\.\.(?!\.)", text):
        found.append("spacing or doubled mark")
    if not re.search(r"[.?!][\"')]*$", text):
        found.append("no end")
    if re.search(r"(?:^|[.?!]\s)[\"'(]*[a-z]", text.replace("e.g.", "").replace("i.e.", "")):
        found.append("no capital")
    if re.search(
        r"(?:\ba|(?:^|[.?!] )A) (?:[aio]|e(?!u|w))[a-z]", re.sub(r"\b[Aa] (?:one|once)\b", "", text)
    ):
        found.append("a before a vowel")
    if re.search(r"\b[Aa]n (?:[b-df-gj-np-tv-z][a-z]|uni[tqvf]|us[eu]|uri)", text):
        found.append("an before a consonant")
    if re.search(r"\b(?!that\b|had\b|is\b)(\w+) \1\b", text, re.IGNORECASE):
        found.append("word twice")
    return found


def test_a_slot_that_is_neither_rule_nor_declared_is_named():
    with pytest.raises(DataFormatError, match=r"\{weather\} in rule 'hello' of greetings@1"):
        greetings(hello=["nice {weather}"])


def test_a_value_that_was_not_given_is_named():
    with pytest.raises(DataFormatError, match=r"a value for \{name\}"):
        greetings(hello=["hello {name}"]).expand("hello", random.Random(0))


def test_an_unknown_rule_is_named():
    with pytest.raises(DataFormatError, match="'bye' to be a rule of greetings@1"):
        greetings(hello=["hello"]).expand("bye", random.Random(0))


@pytest.mark.parametrize("text", ["<a|b", "a>", "a|b", "{a", "a}"])
def test_unbalanced_marks_are_refused(text):
    with pytest.raises(DataFormatError, match="rule 'hello' of greetings@1"):
        greetings(hello=[text])


@pytest.mark.parametrize("alternatives", [[], "hello", [1]])
def test_a_rule_needs_a_list_of_texts(alternatives):
    with pytest.raises(DataFormatError, match="rule 'hello' of greetings@1 to be a list of texts"):
        greetings(hello=alternatives)


def test_a_file_without_provenance_is_refused(tmp_path, monkeypatch):
    package = tmp_path / "bare_package"
    (package / "data").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "data" / "x.yaml").write_text("id: x@1\nrules: {a: [b]}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        DataFormatError, match=r"x\.yaml to have an id, a version and a source, found no version"
    ):
        read_data("bare_package", "x")


def test_choices_nest_and_may_be_empty():
    grammar = greetings(hello=["<Hi|Good <morning|evening>>< {name}|>!"])
    drawn = {grammar.expand("hello", random.Random(seed), name="Ann") for seed in range(200)}
    assert drawn == {
        f"{word}{name}!" for word in ("Hi", "Good morning", "Good evening") for name in ("", " Ann")
    }


def test_values_are_not_read_as_marks():
    assert (
        greetings(hello=["hello {name}"]).expand("hello", random.Random(0), name="{x} <y|z>")
        == "Hello {x} <y|z>."
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a(n) apple", "An apple."),
        ("take a(n) urine test", "Take a urine test."),
        ("take a(n) ultrasound, a(n) X-ray and a(n) CT scan", "Take an ultrasound, an X-ray and a CT scan."),
        ("a(n) hour, a(n) unit, a(n) MRI scan", "An hour, a unit, an MRI scan."),
        ("a(n) HbA1c test or a(n) UTI or a(n) D-dimer test", "An HbA1c test or a UTI or a D-dimer test."),
        ("a(n) 8-week and a(n) 24-hour test", "An 8-week and a 24-hour test."),
        ("a(n) unusual, a(n) uterine, a(n) European case", "An unusual, a uterine, a European case."),
        ("hello ,  world . it is  me", "Hello, world. It is me."),
        ("fruit, e.g. apples. more", "Fruit, e.g. apples. More."),
        ("is it so?. yes..", "Is it so? Yes."),
        ("well,.", "Well."),
        ("wait...", "Wait..."),
        ("", ""),
    ],
)
def test_tidy(before, after):
    assert tidy(before) == after


@given(st.text(alphabet="abcI .,?!'()e", max_size=60))
def test_tidy_settles_at_once(text):
    once = tidy(text)
    assert tidy(once) == once
    assert "  " not in once


@given(st.integers(), st.lists(st.integers(), max_size=8), st.integers(0, 10))
def test_draw_takes_without_repetition(seed, items, count):
    drawn = draw(random.Random(seed), items, count)
    assert len(drawn) == min(count, len(items))
    assert sorted([*drawn, *(item for item in _without(items, drawn))]) == sorted(items)


def _without(items: list[int], taken: list[int]) -> list[int]:
    rest = list(items)
    for item in taken:
        rest.remove(item)
    return rest


def test_pick_rests_on_random_alone():
    # The stream of random.random() is what Python promises to keep between versions.
    assert [pick(random.Random(f"seed/{n}"), "abcdefgh") for n in range(8)] == list("caefhhhd")


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_expansion_is_a_clean_sentence(name):
    grammar = Grammar.load("chatdoctor_hub.corpus.writing", name)
    values = {slot: VALUES[slot] for slot in grammar.slots}
    for rule in grammar.rules:
        if (name, rule) in FRAGMENTS:
            continue
        for seed in range(150):
            text = grammar.expand(rule, random.Random(f"{rule}/{seed}"), **values)
            assert not text or not faults(text), f"{rule}: {text}"


@pytest.mark.parametrize("name", [*SHIPPED, "wording"])
def test_every_shipped_file_says_where_it_comes_from(name):
    content = read_data("chatdoctor_hub.corpus.writing", name)
    assert content["id"].endswith(f"@{content['version']}")
    assert "Written for chatdoctor-hub" in content["source"]
