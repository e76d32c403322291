"""Reading: what of a passage goes into the prompt, by the words it shares with the question or by a model's choice.

Whoever chooses, what is read is the passage's own words: a model is asked for the numbers of sentences, so it
can neither add to a passage nor be made to.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import replace

from chatdoctor_hub.knowledge.wikipedia import passages as prose
from chatdoctor_hub.langchain.knowledge.evidence import Evidence

__all__ = ["chosen", "narrowed", "sentences_of", "shares"]

_NUMBER = re.compile(r"\d+")
_GAP = " … "
_LONGEST = 400  # characters of a sentence, before it is cut into pieces that stand for sentences


def sentences_of(text: str) -> list[str]:
    """The sentences of a text; one of more than 400 characters is cut between words."""
    found = []
    for sentence in (part for line in text.splitlines() for part in prose.sentences_of(line)):
        while len(sentence) > _LONGEST:
            at = sentence.rfind(" ", 1, _LONGEST)
            at = at if at > 0 else _LONGEST
            found.append(sentence[:at])
            sentence = sentence[at:].strip()
        found.append(sentence)
    return found


def shares(passages: Sequence[Evidence], most: int) -> list[int]:
    """How many characters each passage may have, so that together they have `most` at most.

    A passage that needs less than its share leaves the rest to the others.
    """
    given = [0] * len(passages)
    left, waiting = most, sorted(range(len(passages)), key=lambda at: len(passages[at].text))
    for served, at in enumerate(waiting):
        given[at] = min(len(passages[at].text), left // (len(waiting) - served))
        left -= given[at]
    return given


def narrowed(passage: Evidence, question: str, most: int) -> Evidence:
    """The passage with the sentences that matter most for the question, in their order.

    What calls for help at once comes before all else. The other sentences are ranked by BM25 within the passage;
    the earlier one is preferred among equals.

    Args:
        passage: any length.
        question: the patient's words and the keywords.
        most: characters that are kept.
    """
    if len(passage.text) <= most:
        return passage
    sentences = sentences_of(passage.text)
    scores = prose.bm25(question, [("", sentence) for sentence in sentences])
    order = sorted(
        range(len(sentences)), key=lambda at: (sentences[at] not in passage.urgent, -scores[at], at)
    )
    kept: list[int] = []
    room = most
    for at in order:
        cost = len(sentences[at]) + len(_GAP)
        if cost <= room:
            kept.append(at)
            room -= cost
    text = _joined(sentences, kept) if kept else sentences[order[0]][: max(0, most - 1)] + "…"
    return replace(passage, text=text)


def chosen(passage: Evidence, answer: str, most: int) -> Evidence | None:
    """The passage with the sentences whose numbers (from 1) are in a model's answer.

    Returns:
        None when the answer is 0, that is when no sentence helps.

    Raises:
        ValueError: when the answer holds no number of a sentence.
    """
    sentences = sentences_of(passage.text)
    numbers = [int(found[0]) for found in _NUMBER.finditer(answer[:1_000]) if len(found[0]) < 6]
    if numbers and not any(numbers):
        return None
    picked = [number - 1 for number in dict.fromkeys(numbers) if 1 <= number <= len(sentences)]
    if not picked:
        raise ValueError("no number of a sentence")
    kept: list[int] = []
    for at in [*(at for at, sentence in enumerate(sentences) if sentence in passage.urgent), *picked]:
        if at not in kept and len(_joined(sentences, [*kept, at])) <= most:
            kept.append(at)
    if not kept:
        raise ValueError("no sentence that is short enough")
    return replace(passage, text=_joined(sentences, kept))


def _joined(sentences: Sequence[str], kept: Collection[int]) -> str:
    """The kept sentences in their order, with a mark where others stood between."""
    text, last = "", None
    for at in sorted(kept):
        text += ("" if last is None else " " if at == last + 1 else _GAP) + sentences[at]
        last = at
    return text
