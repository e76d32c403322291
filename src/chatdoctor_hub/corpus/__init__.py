"""Dialogues to tune on: read from files or written from a disease table, divided, kept as a folder."""

from __future__ import annotations

from chatdoctor_hub.corpus.folder import Corpus
from chatdoctor_hub.corpus.reading import DialogueFile, RecordProblem, read_dialogues
from chatdoctor_hub.corpus.splits import Splits, split
from chatdoctor_hub.corpus.writing import general_dialogues, lookups, safety_dialogues, synthesize

__all__ = [
    "Corpus",
    "DialogueFile",
    "RecordProblem",
    "Splits",
    "general_dialogues",
    "lookups",
    "read_dialogues",
    "safety_dialogues",
    "split",
    "synthesize",
]
