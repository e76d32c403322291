"""`is_question`: does a doctor's turn ask the patient for something? Rules for English and Chinese, no model.

BianQue (arXiv 2310.15896) tells questions from suggestions by a list of substrings, which fires on
questions quoted back to the patient, on rhetorical ones and on damaged characters. Here a sentence has to
ask the patient for information, and no advice may follow it.
"""

from __future__ import annotations

import re
from functools import partial

from chatdoctor_hub.corpus.writing.sentences import Sentence, chinese_share, sentences
from chatdoctor_hub.corpus.writing.teaching.word_rules import rule
from chatdoctor_hub.dialogue import Turn

__all__ = ["asking_sentences", "is_question"]

_QUOTED = re.compile(r"“[^”]*”|‘[^’]*’\s|「[^」]*」|\"[^\"]*\"")
_MARK = re.compile(r"[?？][\"'”’)）\s]*$")

_LONGEST_UNMARKED = 28
# A question may be followed by why it is asked, not by a lecture.
_MOST_AFTER = 2
_english = partial(rule, "question-rules", "english")
_chinese = partial(rule, "question-rules", "chinese")


def is_question(turn: Turn | str) -> bool:
    """Whether a doctor's turn is a question rather than a suggestion, the two labels of BianQue.

    It is one when it asks the patient for information and no advice follows, or when most of its
    sentences ask. Not asking are: offers and proposals ("Do you have any other questions?", "Would you like
    to …?", "好吗？"), questions that the turn answers itself, quoted ones, and those inside statements
    ("看有没有炎症"). A sentence may ask without a question mark.

    Args:
        turn: the doctor's words, English or Chinese; other languages count by their question marks alone.
    """
    text = turn.content if isinstance(turn, Turn) else turn
    found = sentences(text)
    asks = _asks(found)
    if not any(asks):
        return False
    last = len(asks) - 1 - asks[::-1].index(True)
    after = [item.text for item in found[last + 1 :] if not _is_afterword(item.text)]
    share = sum(asks) / (len(asks) - (len(found) - last - 1 - len(after)))
    return share > 0.5 or (len(after) <= _MOST_AFTER and not any(_advises(text) for text in after))


def asking_sentences(text: str) -> list[Sentence]:
    """The sentences of a turn that ask the patient for information, with their places."""
    found = sentences(text)
    return [item for item, asks in zip(found, _asks(found), strict=True) if asks]


def _asks(found: list[Sentence]) -> list[bool]:
    chinese = chinese_share(" ".join(item.text for item in found)) > 0.3
    marks = []
    for index, item in enumerate(found):
        plain = _QUOTED.sub(" ", item.text).strip()
        later = found[index + 1 :]
        answered = bool(later) and not _MARK.search(later[0].text) and not _is_afterword(later[0].text)
        marks.append(_asks_in_chinese(plain, answered) if chinese else _asks_in_english(plain, answered))
    return marks


def _asks_in_english(plain: str, answered: bool) -> bool:
    if _english("request").search(plain):
        return True
    if not _MARK.search(plain):
        unmarked = not plain.endswith(("!", ",", ":")) and len(plain.split()) <= 20
        return bool(unmarked and _english("inverted").match(plain))
    if _english("offer").search(plain):
        return False
    return not (
        answered and _english("rhetorical").match(plain) and not _english("of_the_patient").search(plain)
    )


def _asks_in_chinese(plain: str, answered: bool) -> bool:
    if _chinese("embedded").search(plain) or not plain:
        return False
    if _chinese("request").search(plain):
        return True
    if _chinese("offer").search(plain):
        return False
    if not _MARK.search(plain):
        return len(plain) <= _LONGEST_UNMARKED and bool(_chinese("unmarked").search(plain.rstrip("。.；; ")))
    body = _MARK.sub("", plain)
    clause = re.split(r"[，,：:]", body)[-1]
    if not _chinese("asking_word").search(clause) and not _chinese("asking_word").search(body[-14:]):
        return 0 < len(clause) <= 14 and bool(_chinese("fragment").search(clause))
    rhetorical = _chinese("rhetorical").search(body) and not _chinese("addressed").search(body)
    return not (rhetorical and (answered or len(body) > 10))


def _is_afterword(text: str) -> bool:
    return bool(_english("afterword").search(text) or _chinese("afterword").search(text))


def _advises(text: str) -> bool:
    return bool(_english("advice").search(text) or _chinese("advice").search(text))
