"""The patient's answers to a doctor's questions, kept consistent with what the patient has told.

A question is answered "yes" when it speaks of a symptom that was told, "no" when it speaks of danger or of
conditions that nobody mentioned, and freely otherwise. Questions that need a story ("What work do you do?")
have no answer here and are not asked.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from chatdoctor_hub.corpus.writing.grammar import pick
from chatdoctor_hub.corpus.writing.wording import specific_stems

__all__ = ["answer", "is_duration_question"]

_DURATION = re.compile(
    r"(?:How long (?:have|has)|For how (?:long|many \w+) (?:have|has)|How many (?:days|weeks) have)\b"
)
_BEGINNING = re.compile(r"When (?:exactly )?did (?!you last)")
_TWO_PARTS = re.compile(
    r",? and (?:how|what|when|where|which|is|are|has|have you|do|does|did|over|need|were)\b|, or only"
)
_EITHER_OR = re.compile(
    r"suddenly or|slowly or|all or|at rest or|in one \w+ or|better or|worse or|hard or|come and go|pressure or|"
    r"restless or|both feet or|stomach or|use them or|eggs or|lice or|or both|, or in both|falling asleep,|"
    r"\bone ear\b|\beach other\b"
)
# Told only by looking, or needing a longer story.
_SKIPPED = re.compile(
    r"^Can you|^Did anyone|^Are you (?:hoping|using)|^If |^Do you still|^Were you (?:able|short|or)"
)
_RISK = re.compile(
    r"\b(?:blood\w*|bleed\w*|black|dark\w*|harm\w*|not worth|not of wanting|faint\w*|pass(?:ed)? out|black(?:ed)? out|"
    r"confus\w*|vomit\w*|fever\w*|pregnan\w*|cancer|clot|stroke|heart|diabetes|weakened|weakens|immun\w*|operation|"
    r"surgery|allerg\w*|smok\w*|trouble breathing|short of breath|numb\w*|weakness|weight|ulcer|hallucin\w*|"
    r"penicillin|steroid\w*|chemo\w*|asthma|kidney|lithium|drugs|cannabis|injur\w*|tick|fit|hospital|medicines?|"
    r"tablets|aspirin|ibuprofen|thinners?|bowel|bladder|rash|swallow\w*|spread\w*|pus|scarring|jaundice|falls?|"
    r"fallen|sores?|eardrum|abroad|travel+ed|contact lenses|sexual|condom|antibiotics?|implant|laxatives|"
    r"ever swollen|hurt to move)\b",
    re.IGNORECASE,
)
# Never confirmed, whatever else was told: the advice that follows would not be enough.
_GRAVE = re.compile(r"harming yourself|harm yourself|not of wanting to live|not worth living|suicid")
_USUAL = re.compile(
    r"as usual|keep fluids|able to (?:keep|drink)|swallow fluids|as prescribed|support you|safe where|vaccinated"
)
# What the row is about, so that "no" would be odd.
_TYPICAL = re.compile(
    r"relive|driven to|now avoid|feel the cold|growing outward|so good or energetic|worse at night"
)

_SHORT = (
    (r"Do you\b|Do you,", "I do", "I don't"),
    (r"Have you\b|Have there", "I have", "I haven't"),
    (r"Did you\b", "I did", "I didn't"),
    (r"Are you\b", "I am", "I'm not"),
    (r"Were you\b", "I was", "I wasn't"),
    (r"Are there\b", "there are", "there aren't"),
    (r"Is there\b", "there is", "there isn't"),
    (r"Has there\b", "there has", "there hasn't"),
    (r"Are\b", "they are", "they aren't"),
    (r"Do\b", "they do", "they don't"),
    (r"Have\b", "they have", "they haven't"),
    (r"Has\b", "it has", "it hasn't"),
    (r"Does\b", "it does", "it doesn't"),
    (r"Did\b", "it did", "it didn't"),
    (r"Is\b", "it is", "it isn't"),
)
_PEOPLE = (
    (
        r"(?:Does|Do) (?:anyone|a parent|you or your relatives)\b",
        "my <mother|father|sister> does",
        "nobody does",
    ),
    (r"Has (?:anyone in your|your mother|a parent)\b", "my <mother|sister> has", "nobody has"),
    (r"Has (?:anyone|any partner)\b", "my partner has", "nobody has"),
    (r"Did (?:either|any) of your parents\b", "my mother did", "neither of them did"),
    (r"Is anyone\b", "my partner is", "nobody is"),
)
_NO_MEDICINES = ("I take nothing regularly.", "None at the moment.", "Only a vitamin tablet now and then.")
_LITTLE_ALCOHOL = ("Very little, perhaps a glass at the weekend.", "Hardly any.", "I don't drink alcohol.")
_YES_TAIL = ("", "", ", a little", ", quite often", ", now that you ask", ", now and then")
_NO_TAIL = ("", "", ", not at all", ", not that I know of", ", not that I noticed", ", as far as I can tell")


def is_duration_question(question: str) -> bool:
    """Whether the question asks how long something has lasted, so that the opening should not say it."""
    return bool(_DURATION.match(question) or _BEGINNING.match(question))


def answer(
    question: str, rng: random.Random, *, told: Sequence[str], untold: Sequence[str], time: str
) -> tuple[str, tuple[str, ...]] | None:
    """What the patient replies, and the symptoms that the reply confirms.

    Args:
        question: the doctor's, one sentence.
        rng: where the free choices come from.
        told: symptoms that the patient has spoken of.
        untold: other symptoms of the same row, which may be confirmed.
        time: how long it has lasted, fit to follow "for".

    Returns:
        The reply and the symptoms confirmed by it, or None when the question cannot be answered simply.
    """
    if _SKIPPED.search(question) or _EITHER_OR.search(question) or not question.endswith("?"):
        return None
    if _TWO_PARTS.search(question):
        return None
    if _DURATION.match(question):
        return f"For {time}.", ()
    if _BEGINNING.match(question):
        return f"It started {time} ago.", ()
    open_reply = _open_reply(question, rng)
    if open_reply:
        return open_reply, ()
    return _yes_or_no(question, rng, told, untold)


def _open_reply(question: str, rng: random.Random) -> str:
    if re.match(r"(?:Which|What) (?:other )?medicines (?:and supplements )?(?:do you|are you)\b", question):
        return pick(rng, _NO_MEDICINES)
    if re.match(r"How much alcohol do you", question):
        return pick(rng, _LITTLE_ALCOHOL)
    if re.match(r"How much coffee", question):
        return pick(rng, ("Two or three cups a day.", "About two cups a day.", "One cup in the morning."))
    if re.match(r"(?:What have you (?:tried|put)|Which .*\b(?:tried)\b)", question):
        return pick(rng, ("Nothing so far.", "Nothing yet.", "I have not tried anything yet."))
    return ""


def _yes_or_no(
    question: str, rng: random.Random, told: Sequence[str], untold: Sequence[str]
) -> tuple[str, tuple[str, ...]] | None:
    forms = _forms(question, rng)
    if forms is None:
        return None
    asked = specific_stems(question)
    known = specific_stems(" ".join(told))
    confirmed = tuple(item for item in untold if asked & specific_stems(item))[:1]
    if _GRAVE.search(question):
        return f"No, {forms[1]}.", ()
    if asked & known or _TYPICAL.search(question) or _USUAL.search(question):
        return f"Yes, {forms[0]}.", ()
    if _RISK.search(question):
        return f"No, {forms[1]}{pick(rng, _NO_TAIL[:4])}.", ()
    if confirmed:
        return f"Yes, {forms[0]}{pick(rng, _YES_TAIL)}.", confirmed
    if rng.random() < 0.4:
        return f"Yes, {forms[0]}{pick(rng, _YES_TAIL[:3])}.", ()
    return f"No, {forms[1]}{pick(rng, _NO_TAIL)}.", ()


def _forms(question: str, rng: random.Random) -> tuple[str, str] | None:
    for pattern, yes, no in (*_PEOPLE, *_SHORT):
        if re.match(pattern, question):
            options = re.search(r"<(.*)>", yes)
            chosen = yes.replace(options.group(), pick(rng, options.group(1).split("|"))) if options else yes
            return chosen, no
    return None
