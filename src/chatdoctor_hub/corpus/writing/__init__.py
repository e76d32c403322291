"""Dialogues written from a disease table, by grammars or by a teacher; polished; made into samples.

The general and safety turns of a small base model are written here too.
"""

from __future__ import annotations

from chatdoctor_hub.corpus.writing.behaviour import general_dialogues, safety_dialogues
from chatdoctor_hub.corpus.writing.lookups import lookups
from chatdoctor_hub.corpus.writing.messages_file import write_messages, write_report
from chatdoctor_hub.corpus.writing.question_rules import is_question
from chatdoctor_hub.corpus.writing.questioning import CoqSample, CoqSamples, coq
from chatdoctor_hub.corpus.writing.synthesis import synthesize
from chatdoctor_hub.corpus.writing.teaching.polishing import Polished, PolishedTurn, polish
from chatdoctor_hub.corpus.writing.teaching.teacher_report import TeacherConfig, TeacherReport
from chatdoctor_hub.corpus.writing.teaching.teacher_synthesis import Synthesis, synthesize_with_teacher

__all__ = [
    "CoqSample",
    "CoqSamples",
    "Polished",
    "PolishedTurn",
    "Synthesis",
    "TeacherConfig",
    "TeacherReport",
    "coq",
    "general_dialogues",
    "is_question",
    "lookups",
    "polish",
    "safety_dialogues",
    "synthesize",
    "synthesize_with_teacher",
    "write_messages",
    "write_report",
]
