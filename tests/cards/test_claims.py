"""Placeholders and claims: what is said plainly is found, and a denial is no claim."""

from __future__ import annotations

import pytest

from chatdoctor_hub.cards import card_faults, field_faults, find_claims, find_placeholders, sections_of

CLAIMS = [
    "It diagnoses skin diseases.",
    "Our model can reliably diagnose pneumonia.",
    "The model helps you to diagnose yourself.",
    "Ready for diagnosing patients in your clinic.",
    "It gives an accurate diagnosis in seconds.",
    "It is suitable for clinical use.",
    "Intended for the diagnosis of rashes.",
    "A diagnostic assistant for everyone.",
    "It replaces your doctor.",
    "As good as a doctor.",
    "It is CE-marked.",
    "CE certified software.",
    "An FDA-approved assistant.",
    "FDA cleared in 2024.",
    "Certified as a medical device in the EU.",
    "This is a class IIa medical device.",
    "This is a medical device.",
    "HIPAA compliant out of the box.",
    "It complies with the EU MDR.",
    "Clinically validated on 300 patients.",
    "Not only a toy: it is CE-marked.",
    "Not just a toy but a certified medical device.",
    "It is not perfect, but it can diagnose measles.",
    "Never wrong. It diagnoses measles.",
    "No doubt it can diagnose measles.",
    "- fast\n- diagnoses measles",
    "Find out what illness you have.",
    "It tells you which rare disease you suffer from.",
    "Learn what is wrong with you.",
    "It identifies your illness at once.",
    "该模型可以诊断疾病。",
    "已通过医疗器械认证。",
]
DENIALS = [
    "Do not use it to find out what illness you have.",
    "Find out the terms of the data first.",
    "Patients tell which disease runs in the family.",
    "Not a doctor, not a medical device.",
    "It is not CE-marked, FDA-approved or otherwise certified.",
    "It must not be used to diagnose anybody.",
    "It cannot diagnose.",
    "It has never been clinically validated.",
    "Nobody may claim that it is HIPAA compliant.",
    "Do not use it instead of a doctor.",
    "It must not be used:\n\n- to diagnose\n- for triage",
    "It is neither clinically\nvalidated nor approved for clinical use.",
    "## Out of scope\n\nUsing it to diagnose patients, or instead of a doctor.",
    "The dialogues hold diagnoses of doctors.",
    "The diagnosis that the doctor gave stands in `topic`.",
    "```\nit can diagnose\n```",
    "<!-- it can diagnose -->",
    "Ask a doctor for a diagnosis.",
    "该模型不能诊断疾病。",
    "Dialogues about medical devices.",
]


@pytest.mark.parametrize("text", CLAIMS)
def test_a_claim_is_found(text: str) -> None:
    assert len(find_claims(text)) >= 1
    assert all(finding.kind.startswith("a claim of ") for finding in find_claims(text))


@pytest.mark.parametrize("text", DENIALS)
def test_a_denial_is_no_claim(text: str) -> None:
    assert find_claims(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "TODO: write this",
        "Licence: TBD",
        "[More Information Needed]",
        "[more information\nneeded]",
        "Lorem ipsum dolor",
        "Contact: <your name>",
        "{{ name }}",
        "[insert a description]",
        "[Your institution]",
        "Coming soon",
    ],
)
def test_a_placeholder_is_found(text: str) -> None:
    (found,) = find_placeholders(f"# Card\n\n## Part\n\n{text}\n")
    assert (found.section, found.line) == ("Part", 5)


@pytest.mark.parametrize(
    "text", ["`[1, 2]`", "A todo list for nurses.", "```\n{{ x }}\nTODO\n```", "<b>bold</b>"]
)
def test_what_only_looks_like_one(text: str) -> None:
    assert find_placeholders(text) == []


def test_sections() -> None:
    text = "# T\n\nx\n\n## A\n\n### B\n\nb\n\n## C\n\n<!-- c -->\n```\n## D\n```\n"
    assert sections_of(text) == {
        "T": text.split("```")[0].split("# T\n\n")[1].replace("<!-- c -->", "").strip(),
        "A": "### B\n\nb",
        "B": "b",
        "C": "",
    }


CARD = """---
license: mit
---

# A

<!-- chatdoctor:begin notice -->
> Not a doctor.
<!-- chatdoctor:end notice -->

## Use

For study.
"""


def test_a_whole_card_has_no_faults() -> None:
    assert card_faults(CARD, ("Use",)) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("## Use", "## Us"), "expected the section 'Use', found none of that name"),
        (("For study.", ""), "section 'Use': expected text, found none"),
        (("For study.", "TBD"), "section 'Use', line 13: expected no placeholder, found 'TBD'"),
        (("For study.", "It can diagnose."), "section 'Use', line 13: expected no claim of diagnosis"),
        (("For study.", "CE-marked."), "section 'Use', line 13: expected no claim of compliance"),
        (
            ("license: mit", "summary: is CE-marked"),
            "header field 'summary': expected no claim of compliance",
        ),
        (("license: mit", ""), "expected a YAML header, found none"),
        (("chatdoctor:begin notice", "x"), "'end notice' without its begin"),
        (("notice", "other"), "expected the generated block 'notice', found none"),
    ],
)
def test_each_fault_is_told_with_its_place(change: tuple[str, str], said: str) -> None:
    faults = card_faults(CARD.replace(*change), ("Use",))
    assert any(said in fault for fault in faults), faults


def test_fields_are_looked_into() -> None:
    faults = field_faults({"name": "fine", "more": {"a": ["ok", "TODO"]}, "n": 3})
    assert faults == ["more, a, 2: expected no placeholder, found 'TODO'"]
