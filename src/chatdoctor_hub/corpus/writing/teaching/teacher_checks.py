"""What an answer of a teacher must be before it becomes a dialogue: rules over strings, no model.

A rule rejects what breaks it and names the fault, which the teacher is told. The lists behind the rules are
finite: a drug, test or disease that neither the table nor the shipped list knows, and whose ending tells
nothing, passes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import partial

from chatdoctor_hub.corpus.writing.behaviour import REFUSAL_CORES
from chatdoctor_hub.corpus.writing.question_rules import asking_sentences, is_question
from chatdoctor_hub.corpus.writing.sentences import chinese_share, sentences
from chatdoctor_hub.corpus.writing.teaching.lexicon import Lexicon, row_text
from chatdoctor_hub.corpus.writing.teaching.teacher import Fault
from chatdoctor_hub.corpus.writing.teaching.word_rules import rule
from chatdoctor_hub.knowledge import Disease

__all__ = ["DOCTOR_WORDS", "PATIENT_WORDS", "check_dialogue", "check_wording", "is_urgent"]

PATIENT_WORDS = (2, 120)
"""Fewest and most words of a patient's turn; the first has 6 at least."""
DOCTOR_WORDS = (40, 160)
"""Fewest and most words of the doctor's advice; a turn that only asks may be shorter."""

_I = re.IGNORECASE
_MOST_TURNS = 12
_rule = partial(rule, "teacher-checks")
_DECLINING = re.compile("|".join(map(re.escape, REFUSAL_CORES)), _I)
_EXCLUDED = re.compile(r"\b(?:rule[sd]? out|ruling out|exclude[sd]?|excluding)\b", _I)


def _check_form(turns: Sequence[tuple[str, str]], *, multi_turn: bool) -> list[Fault]:
    """Speakers, lengths, labels, placeholders, refusals, language; True of any dialogue in English.

    Args:
        turns: pairs of "patient" or "doctor" and a text.
        multi_turn: whether the doctor asks first.
    """
    if not turns or any(not text.strip() for _, text in turns):
        return [Fault("empty", "There is no turn, or a turn has no words.")]
    faults = []
    if [speaker for speaker, _ in turns] != ["patient", "doctor"] * (len(turns) // 2):
        faults.append(
            Fault("roles", "Patient and doctor must alternate, the patient first, the doctor last.")
        )
    if (len(turns) < 4 or len(turns) > _MOST_TURNS) if multi_turn else len(turns) != 2:
        wanted = f"4 to {_MOST_TURNS} turns" if multi_turn else "exactly 2 turns"
        faults.append(Fault("number of turns", f"It must have {wanted}."))
    text = "\n".join(text for _, text in turns)
    faults += check_wording(text)
    letters = [sign for sign in text if sign.isalpha()]
    if chinese_share(text) > 0.02 or sum(sign.isascii() for sign in letters) < 0.97 * len(letters):
        faults.append(Fault("language", "It must be in English."))
    return [*faults, *_lengths(turns)]


def check_wording(text: str) -> list[Fault]:
    """Speaker labels, placeholders, refusals: what no text of a doctor or patient may hold."""
    faults = []
    if _rule("label").search(text):
        faults.append(Fault("label", "A text holds a speaker label or a mark of a chat format."))
    if _rule("placeholder").search(text):
        faults.append(Fault("placeholder", "A text holds a placeholder."))
    if _rule("refusal").search(text) or _DECLINING.search(text):
        faults.append(Fault("refusal", "It refuses, or speaks of being an AI; write as the doctor."))
    return faults


def _lengths(turns: Sequence[tuple[str, str]]) -> Iterable[Fault]:
    for number, (speaker, text) in enumerate(turns):
        count = len(text.split())
        low, high = PATIENT_WORDS if speaker == "patient" else (3, DOCTOR_WORDS[1])
        if number == 0:
            low = 6
        if not low <= count <= high:
            yield Fault("length", f"Turn {number + 1} has {count} words; it must have {low} to {high}.")
    longest = max((len(text.split()) for speaker, text in turns if speaker == "doctor"), default=0)
    if longest < DOCTOR_WORDS[0]:
        yield Fault(
            "length", f"The doctor's advice has {longest} words; it must have {DOCTOR_WORDS[0]} at least."
        )


def check_dialogue(
    turns: Sequence[tuple[str, str]], row: Disease, lexicon: Lexicon, *, multi_turn: bool
) -> list[Fault]:
    """Everything that is wrong with a dialogue about one row; empty when it can be used.

    Args:
        turns: pairs of "patient" or "doctor" and a text.
        row: what the teacher was given.
        lexicon: of the whole table.
        multi_turn: whether the doctor was to ask first.
    """
    faults = _check_form(turns, multi_turn=multi_turn)
    if faults and faults[0].kind in ("empty", "roles"):
        return faults
    text = "\n".join(text for _, text in turns)
    faults += _foreign("drug", lexicon.drugs(text) - lexicon.allowed_drugs(row))
    faults += _foreign("test", lexicon.tests(text) - lexicon.allowed_tests(row))
    new_doses = _doses(text) - _doses(row_text(row))
    if new_doses:
        faults.append(Fault("dose", "It gives a dose or a schedule that the row does not have; give none."))
    faults += _findings(turns, row, lexicon)
    if multi_turn:
        faults += _first_asks(turns[1][1], row, lexicon)
    return faults


def _foreign(kind: str, names: Iterable[str]) -> list[Fault]:
    return [
        Fault(kind, f"The row does not list the {kind} {name.split(':')[-1]!r}; leave it out.")
        for name in sorted(names)
    ]


def _findings(turns: Sequence[tuple[str, str]], row: Disease, lexicon: Lexicon) -> list[Fault]:
    """The disease of the row is named by the doctor, and no other; the patient names none."""
    allowed = lexicon.allowed_conditions(row)
    spoken = [text for speaker, text in turns if speaker == "doctor"]
    named = frozenset().union(*map(lexicon.conditions, spoken))
    faults = []
    if not (named & lexicon.finding(row)):
        faults.append(Fault("no finding", f"The doctor must say that it may be {row.name!r}."))
    for text in spoken:
        asked = {item.start for item in asking_sentences(text)}
        for sentence in sentences(text):
            foreign = lexicon.conditions(sentence.text) - allowed
            # A question for another condition ("Do you have diabetes?") finds nothing.
            if not foreign or (sentence.start in asked and not _rule("finding").match(sentence.text)):
                continue
            kind = "diagnosis excluded" if _EXCLUDED.search(sentence.text) else "diagnosis"
            faults += [
                Fault(kind, f"The row is not about {name!r}; do not name it.") for name in sorted(foreign)
            ]
        if _rule("certainty").search(text):
            faults.append(Fault("certainty", "Say what it may be, not that it is certain."))
    return faults


def _first_asks(text: str, row: Disease, lexicon: Lexicon) -> list[Fault]:
    faults = []
    if not is_question(text):
        faults.append(Fault("no question first", "The doctor's first turn must ask the patient something."))
    kept = [
        item.text for item in sentences(text) if not (is_urgent(row) and _rule("urgent").search(item.text))
    ]
    asked = {item.text for item in asking_sentences(text)}
    stated = "\n".join(sentence for sentence in kept if sentence not in asked)
    names_a_finding = lexicon.conditions(stated) & lexicon.finding(row)
    if _advises(stated) or names_a_finding or lexicon.drugs(stated) or lexicon.tests(stated):
        faults.append(
            Fault("advice first", "The doctor's first turn must only ask: no advice, finding, drug or test.")
        )
    return faults


def _advises(text: str) -> bool:
    """Whether a text tells the patient what to do, by English turns of phrase."""
    return bool(_rule("advice").search(text))


def is_urgent(row: Disease) -> bool:
    """Whether a row calls for emergency help."""
    return bool(re.search(r"\bambulance|emergency (?:services|department)|an emergency", row.see_doctor, _I))


def _doses(text: str) -> frozenset[str]:
    """The doses and schedules of drugs that a text gives, spelled alike."""
    return frozenset(" ".join(match.group().lower().split()) for match in _rule("dose").finditer(text))
