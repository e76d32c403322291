from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatdoctor_hub.langchain.knowledge import CitationCheck, check_citations

COLD = "wiki:Common_cold@123#ab12"
KNOWN = ("table:42", "table:7", COLD, "wiki:Flu@5#0001", "wiki:Flu@5#0002")


@pytest.mark.parametrize(
    ("written", "text", "kept", "invented"),
    [
        ("Rest [table:42].", "Rest [table:42].", ["table:42"], 0),
        ("Rest [table:99].", "Rest.", [], 1),
        ("[table:99] Rest", "Rest", [], 1),
        ("Rest [table:99] well", "Rest well", [], 1),
        ("Rest[table:99]well", "Rest well", [], 1),
        ("- a [table:99]\n- b", "- a\n- b", [], 1),
        ("a [table:99]\n\nb", "a\n\nb", [], 1),
        ("a [table:98] [table:99], b", "a, b", [], 2),
        ("a [table:42, table:99; table:7] b", "a [table:42][table:7] b", ["table:42", "table:7"], 1),
        ("a [table:42, 7, 9] b", "a [table:42][table:7] b", ["table:42", "table:7"], 1),
        ("[table:42][table:99]", "[table:42]", ["table:42"], 1),
        ("twice [table:7] and [table:7]", "twice [table:7] and [table:7]", ["table:7"], 0),
        ("(table:42)", "[table:42]", ["table:42"], 0),
        ("([table:42], [table:99])", "[table:42]", ["table:42"], 1),
        ("a (see [table:99]) b", "a b", [], 1),
        ("(as I said [table:42])", "(as I said [table:42])", ["table:42"], 0),
        ("(as I said [table:99])", "(as I said)", [], 1),
        ("see table:42.", "see [table:42].", ["table:42"], 0),
        ("see table:99.", "see.", [], 1),
        ("**table:7**", "**[table:7]**", ["table:7"], 0),
        ("[Table: 42]", "[table:42]", ["table:42"], 0),
        ("[ table:42 ]", "[table:42]", ["table:42"], 0),
        ("[table 7]", "[table:7]", ["table:7"], 0),
        ("【table:42】", "[table:42]", ["table:42"], 0),
        ("［table：42］", "[table:42]", ["table:42"], 0),
        ("[ta\u200bble:99] x", "x", [], 1),
        ("ta\u200bble:99 x", "x", [], 1),
        ("[table:42", "[table:42]", ["table:42"], 0),
        ("[table:99", "", [], 1),
        ("[table:42 says so]", "[table:42] says so]", ["table:42"], 0),
        (f"[{COLD}]", f"[{COLD}]", [COLD], 0),
        ("[wiki:Common cold@123#ab12]", f"[{COLD}]", [COLD], 0),
        ("[wiki:Common cold]", f"[{COLD}]", [COLD], 0),
        ("[wiki:common_cold@123]", f"[{COLD}]", [COLD], 0),
        ("a [wiki:Flu] b", "a b", [], 1),
        ("[wiki:Flu@5#0002]", "[wiki:Flu@5#0002]", ["wiki:Flu@5#0002"], 0),
        ("[wiki:Common cold@999#ab12] x", "x", [], 1),
        ("[wiki:Made up, table:42]", "[table:42]", ["table:42"], 1),
        ("It helps [1].", "It helps.", [], 1),
        ("It helps [1, 2-3] [^4].", "It helps.", [], 2),
        ("a [PMID: 12345] b [doi:10.1/x] c [source 3] d", "a b c d", [], 3),
        ("[https://made.up/page] x", "x", [], 1),
        ("[table:[table:99]42]", "[table:42]", ["table:42"], 2),
    ],
)
def test_what_becomes_of_a_citation(written, text, kept, invented):
    checked = check_citations(written, KNOWN)
    assert (checked.text, list(checked.kept), checked.invented) == (text, kept, invented)


@pytest.mark.parametrize(
    "text",
    [
        "Nothing to see.",
        "The table: see below. Tables and wikis.",
        "Take [two] pills (2 a day), [sic] and [Note: call an ambulance].",
        "A [link](https://w.example) and a list:\n- [ ] one\n- [x] two",
        "a ratio of [2:1] at [10:30], (table) [table] wiki",
        "An open [ bracket and ( another",
        "inline\n\n    code [0]x".replace("[0]", "{0}"),
        "timetable:42 and suitable:7",
    ],
)
def test_other_text_stays_as_it_is(text):
    assert check_citations(text, KNOWN) == check_citations(text, ())
    assert check_citations(text, KNOWN).text == text
    assert check_citations(text, KNOWN).invented == 0


def test_with_nothing_retrieved_everything_is_invented():
    checked = check_citations("Rest [table:42] (wiki:Flu@5#0001).", ())
    assert (checked.text, checked.kept, checked.invented) == ("Rest.", (), 2)


PIECES = st.one_of(
    st.sampled_from(
        ["[", "]", "(", ")", "【", "】", "{", "}", " ", "\n", ",", ";", ".", ":", "*", "\u200b", "é"]
    ),
    st.sampled_from(
        ["table", "table:", "wiki:", "42", "99", "7", "Flu", "@5#0001", COLD, "[table:42]", "[table:9]"]
    ),
    st.sampled_from(["a", "t", "wik", "1", "word ", "see ", "and ", "ref ", "Source: ", "[table:4"]),
)
TEXTS = st.lists(PIECES, max_size=14).map("".join)


@settings(max_examples=300, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 60), max_size=30))
@example("a [x\n [table:9] \n\nb", [1] * 30)
@example("[" + "a" * 500 + "]" + "[" + "1," * 300 + "]", [399, 1, 1, 600])
def test_how_the_answer_is_cut_makes_no_difference(text, cuts):
    whole = check_citations(text, KNOWN)
    for pieces in (list(text), list(_cut(text, cuts))):
        check = CitationCheck(KNOWN)
        said = "".join([check.feed(piece) for piece in pieces]) + check.flush()
        assert (said, check.kept, check.invented) == (whole.text, whole.kept, whole.invented)


@settings(max_examples=300, deadline=None)
@given(TEXTS)
@example("[table[table:4]99")
@example("[table[table:4]42")
@example("(wiki[table:4]:Flu")
def test_no_unknown_citation_is_left_and_a_second_check_finds_nothing(text):
    checked = check_citations(text, KNOWN)
    named = re.findall(r"(?<![^\W_])(?:table:\d[\w.]*|wiki:[\w@#]+)", checked.text)
    assert set(named) <= set(KNOWN)
    assert set(re.findall(r"\[((?:table|wiki):[^\]\[]+)\]", checked.text)) == set(checked.kept)
    again = check_citations(checked.text, KNOWN)
    assert again.invented == 0
    assert again.kept == checked.kept
    assert checked.text == checked.text.strip()


def test_little_is_held_back():
    check = CitationCheck(KNOWN)
    assert check.feed("Rest well") == "Rest well"
    assert check.feed(" and drink [") == " and drink"
    assert check.feed("table:4") == ""
    assert check.feed("2]") == " [table:42]"
    assert check.feed(" now (today") == " now (today"
    assert check.feed("[" + "x" * 500).endswith("x" * 90)
    assert check.flush() == ""


def test_a_long_answer_is_checked_in_no_time():
    text = "[(" * 20_000 + "table:" * 5_000 + " [table:42]"
    assert check_citations(text, KNOWN).kept == ("table:42",)


def _cut(text, sizes):
    at = 0
    for size in sizes:
        yield text[at : at + size]
        at += size
    yield text[at:]
