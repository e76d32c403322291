"""Texts and dialogues made fit to train on: identifiers out, duplicates and leaks found."""

from __future__ import annotations

from chatdoctor_hub.corpus.cleaning.duplicates import (
    SplitDuplicates,
    duplicates_by_split,
    group_near_duplicates,
)
from chatdoctor_hub.corpus.cleaning.identifiers.auditing import (
    AuditReport,
    IdentifierCounts,
    audit,
    count_identifiers,
)
from chatdoctor_hub.corpus.cleaning.identifiers.deidentification import Deidentifier, deidentify
from chatdoctor_hub.corpus.cleaning.identifiers.kinds import KINDS, Finding, Kind
from chatdoctor_hub.corpus.cleaning.leak_search import find_leaks
from chatdoctor_hub.corpus.cleaning.leaks import Leak, LeakChecker
from chatdoctor_hub.corpus.cleaning.normalize import normalize, normalize_text
from chatdoctor_hub.corpus.cleaning.sketches import Sketcher, spoken_text

__all__ = [
    "AuditReport",
    "IdentifierCounts",
    "audit",
    "count_identifiers",
    "Leak",
    "LeakChecker",
    "Sketcher",
    "SplitDuplicates",
    "duplicates_by_split",
    "find_leaks",
    "group_near_duplicates",
    "normalize",
    "normalize_text",
    "spoken_text",
    "KINDS",
    "Deidentifier",
    "Finding",
    "Kind",
    "deidentify",
]
