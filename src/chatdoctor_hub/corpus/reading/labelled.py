"""Texts in which labels say who speaks: `病人：… 医生：…`, "patient: …"."""

from __future__ import annotations

import re

__all__ = ["labelled_turns", "utterance"]

_PATIENT = ("病人", "患者", "patient")
_NAMES = r"(病人|患者|医生|(?i:patient|doctor))\s{0,3}[:：]"
# BianQue's sample file has the two characters backslash and n where a line ends.
_AT_A_LINE = re.compile(rf"(?:\A|\n|\\n)[^\S\n]*{_NAMES}")
_AT_THE_START = re.compile(rf"\s*{_NAMES}")


def labelled_turns(text: str) -> list[tuple[str, str]]:
    """The (role, words) turns of a text with a label at the start of each; empty ones are left out.

    Args:
        text: what comes before the first label is taken as the patient's.
    """
    turns: list[tuple[str, str]] = []
    role, begin = "patient", 0
    for label in _AT_A_LINE.finditer(text):
        turns.append((role, text[begin : label.start()].strip()))
        role, begin = _role(label[1]), label.end()
    turns.append((role, text[begin:].strip()))
    return [(role, words) for role, words in turns if words]


def utterance(text: str) -> tuple[str, str]:
    """The role and the words of a text that begins with a label; the role is "" where it does not."""
    label = _AT_THE_START.match(text)
    return (_role(label[1]), text[label.end() :]) if label else ("", text)


def _role(label: str) -> str:
    return "patient" if label.casefold() in _PATIENT else "doctor"
