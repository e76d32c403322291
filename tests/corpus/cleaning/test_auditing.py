"""The audit: what it plants, what it counts, and the bars it is held to."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("presidio_analyzer")

from rich.console import Console

from chatdoctor_hub.corpus.cleaning import KINDS, Deidentifier, Finding, audit, count_identifiers
from chatdoctor_hub.corpus.cleaning.identifiers.auditing import clean_sentences
from chatdoctor_hub.corpus.cleaning.identifiers.planted import planted_texts, read_sentences
from chatdoctor_hub.corpus.reading import read_dialogues
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError


@pytest.fixture(scope="module")
def report():
    return audit(n=1000, seed=0, clean=["I have a cough.", "Hello Dr. Smith,"])


def test_the_bars_are_met(report) -> None:
    low = {kind: str(found) for kind, found in report.recall.items() if found.rate < 0.95}
    assert low == {}
    assert set(report.recall) == set(KINDS)
    assert sum(found.n for found in report.recall.values()) == 1000
    ours = [part for origin, part in report.false_changes.items() if origin != "own"]
    assert sum(part.n for part in ours) == 1000
    assert sum(part.successes for part in ours) <= 5


def test_ones_own_sentences_are_counted_apart(report) -> None:
    assert (report.false_changes["own"].successes, report.false_changes["own"].n) == (1, 2)
    assert report.false_kinds["titled_name"] >= 1


def test_the_record_and_the_table(report) -> None:
    record = json.loads(json.dumps(report.to_record()))
    assert record["recall"]["email"]["n"] == 50
    assert {"low", "high", "rate"} <= set(record["all_false_changes"])
    console = Console(width=100, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(report)
    shown = console.export_text()
    assert all(kind in shown for kind in KINDS)
    assert "disease table" in shown


class Blind(Deidentifier):
    """Finds nothing."""

    def text(self, text: str) -> tuple[str, tuple[Finding, ...]]:
        return text, ()


class Eager(Deidentifier):
    """Takes the first letter of everything."""

    def text(self, text: str) -> tuple[str, tuple[Finding, ...]]:
        return "[NAME 1]" + text[1:], (Finding("titled_name", 0, 1),)


def test_a_tool_that_finds_nothing_or_too_much_fails() -> None:
    assert set(audit(Blind(), n=40).failures) == set(KINDS)
    assert "false changes" in audit(Eager(), n=40).failures


def test_part_of_the_kinds() -> None:
    report = audit(Deidentifier(["email", "url"]), n=20)
    assert {kind: found.n for kind, found in report.recall.items()} == {"email": 10, "url": 10}
    with pytest.raises(ConfigError, match="at least 20"):
        audit(n=3)


def test_planted_texts_hold_what_they_say_and_repeat() -> None:
    texts = list(planted_texts(200, 3))
    assert texts == list(planted_texts(200, 3))
    assert texts != list(planted_texts(200, 4))
    assert all(item.text[item.start : item.end].strip() for item in texts)
    assert not [item.text for item in texts if "<" in item.text or "{" in item.text or "^" in item.text]


def test_the_two_sets_share_no_sentence_and_no_name() -> None:
    data = read_sentences("planted")
    one, other = data["development"], data["held_out"]
    for part in ("given", "surnames", "chinese_surnames", "context", "streets"):
        assert not set(one[part]) & set(other[part]), part
    assert set(one["carriers"]) == set(other["carriers"]) == set(KINDS)
    assert all(not set(one["carriers"][kind]) & set(other["carriers"][kind]) for kind in KINDS)


def test_clean_sentences_repeat_and_differ() -> None:
    sentences = list(clean_sentences(300, 0))
    assert sentences == list(clean_sentences(300, 0))
    assert len({text for _, text in sentences}) > 240
    assert {origin for origin, _ in sentences} == {"written", "disease table"}


def test_counts_of_real_dialogues_hold_no_values() -> None:
    counts = count_identifiers(
        iter(
            [
                Dialogue((Turn("patient", "Hi Dr. Smith"), Turn("doctor", "Hi Jane, call 9845012345."))),
                Dialogue((Turn("patient", "I cough."),)),
            ]
        )
    )
    assert counts.to_record() == {
        "dialogues": 2,
        "changed": 1,
        "by_kind": {"phone": 1, "titled_name": 1, "greeting_name": 1},
    }
    assert "Jane" not in repr(counts)
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(counts)
    assert "1 of 2 dialogues" in console.export_text()


def test_generated_dialogues_hold_none(shared_data) -> None:
    """The published 4,000 were written by a model that was given no names: all that changed was judged by hand."""
    dialogues = read_dialogues(shared_data / "chatdoctor" / "genmedgpt_4000.json")
    counts = count_identifiers(dialogues)
    assert counts.dialogues > 3900
    assert counts.changed <= 2
