"""Dialogues to tune on: read, cleaned or written, divided, and kept as a folder.

`reading` takes them from files and the Hub, `cleaning` mends, de-identifies and compares them, `writing` makes
them from a disease table or with a teacher, `building` puts all of it together; the modules beside these are
the folder itself. `cleaning` and `writing` import neither of the others, `reading` only `cleaning`. Names are
resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatdoctor_hub.corpus.building.build import build_corpus as build_corpus
    from chatdoctor_hub.corpus.building.config import CorpusConfig as CorpusConfig
    from chatdoctor_hub.corpus.building.plan import CorpusPlan as CorpusPlan
    from chatdoctor_hub.corpus.building.plan import plan_corpus as plan_corpus
    from chatdoctor_hub.corpus.building.scale import corpus_pipelines as corpus_pipelines
    from chatdoctor_hub.corpus.cleaning import AuditReport as AuditReport
    from chatdoctor_hub.corpus.cleaning import Deidentifier as Deidentifier
    from chatdoctor_hub.corpus.cleaning import Finding as Finding
    from chatdoctor_hub.corpus.cleaning import Leak as Leak
    from chatdoctor_hub.corpus.cleaning import LeakChecker as LeakChecker
    from chatdoctor_hub.corpus.cleaning import audit as audit
    from chatdoctor_hub.corpus.cleaning import count_identifiers as count_identifiers
    from chatdoctor_hub.corpus.cleaning import deidentify as deidentify
    from chatdoctor_hub.corpus.cleaning import find_leaks as find_leaks
    from chatdoctor_hub.corpus.cleaning import normalize_text as normalize_text
    from chatdoctor_hub.corpus.cleaning.normalize import normalize as normalize
    from chatdoctor_hub.corpus.folder import Corpus as Corpus
    from chatdoctor_hub.corpus.reading import DialogueFile as DialogueFile
    from chatdoctor_hub.corpus.reading import DialogueStream as DialogueStream
    from chatdoctor_hub.corpus.reading import Provenance as Provenance
    from chatdoctor_hub.corpus.reading import RecordProblem as RecordProblem
    from chatdoctor_hub.corpus.reading import SourceConfig as SourceConfig
    from chatdoctor_hub.corpus.reading import read_dialogues as read_dialogues
    from chatdoctor_hub.corpus.reading import stream_dialogues as stream_dialogues
    from chatdoctor_hub.corpus.splits import Splits as Splits
    from chatdoctor_hub.corpus.splits import split as split
    from chatdoctor_hub.corpus.writing import CoqSample as CoqSample
    from chatdoctor_hub.corpus.writing import CoqSamples as CoqSamples
    from chatdoctor_hub.corpus.writing import Polished as Polished
    from chatdoctor_hub.corpus.writing import Synthesis as Synthesis
    from chatdoctor_hub.corpus.writing import TeacherConfig as TeacherConfig
    from chatdoctor_hub.corpus.writing import coq as coq
    from chatdoctor_hub.corpus.writing import general_dialogues as general_dialogues
    from chatdoctor_hub.corpus.writing import is_question as is_question
    from chatdoctor_hub.corpus.writing import polish as polish
    from chatdoctor_hub.corpus.writing import safety_dialogues as safety_dialogues
    from chatdoctor_hub.corpus.writing import synthesize as synthesize
    from chatdoctor_hub.corpus.writing import synthesize_with_teacher as synthesize_with_teacher
    from chatdoctor_hub.corpus.writing import write_messages as write_messages
    from chatdoctor_hub.corpus.writing.lookups import lookups as lookups

_HOMES = {
    "AuditReport": "cleaning",
    "CoqSample": "writing",
    "CoqSamples": "writing",
    "Corpus": "folder",
    "CorpusConfig": "building.config",
    "CorpusPlan": "building.plan",
    "Deidentifier": "cleaning",
    "DialogueFile": "reading",
    "DialogueStream": "reading",
    "Finding": "cleaning",
    "Leak": "cleaning",
    "LeakChecker": "cleaning",
    "Polished": "writing",
    "Provenance": "reading",
    "RecordProblem": "reading",
    "SourceConfig": "reading",
    "Splits": "splits",
    "Synthesis": "writing",
    "TeacherConfig": "writing",
    "audit": "cleaning",
    "build_corpus": "building.build",
    "coq": "writing",
    "corpus_pipelines": "building.scale",
    "count_identifiers": "cleaning",
    "deidentify": "cleaning",
    "find_leaks": "cleaning",
    "general_dialogues": "writing",
    "is_question": "writing",
    "lookups": "writing.lookups",
    "normalize": "cleaning.normalize",
    "normalize_text": "cleaning",
    "plan_corpus": "building.plan",
    "polish": "writing",
    "read_dialogues": "reading",
    "safety_dialogues": "writing",
    "split": "splits",
    "stream_dialogues": "reading",
    "synthesize": "writing",
    "synthesize_with_teacher": "writing",
    "write_messages": "writing",
}

__all__ = [
    "AuditReport",
    "CoqSample",
    "CoqSamples",
    "Corpus",
    "CorpusConfig",
    "CorpusPlan",
    "Deidentifier",
    "DialogueFile",
    "DialogueStream",
    "Finding",
    "Leak",
    "LeakChecker",
    "Polished",
    "Provenance",
    "RecordProblem",
    "SourceConfig",
    "Splits",
    "Synthesis",
    "TeacherConfig",
    "audit",
    "build_corpus",
    "coq",
    "corpus_pipelines",
    "count_identifiers",
    "deidentify",
    "find_leaks",
    "general_dialogues",
    "is_question",
    "lookups",
    "normalize",
    "normalize_text",
    "plan_corpus",
    "polish",
    "read_dialogues",
    "safety_dialogues",
    "split",
    "stream_dialogues",
    "synthesize",
    "synthesize_with_teacher",
    "write_messages",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
