"""Dialogues from the files in which they circulate, each repair and each loss counted."""

from __future__ import annotations

from chatdoctor_hub.corpus.reading.published import Provenance
from chatdoctor_hub.corpus.reading.readers import DialogueFile, read_dialogues
from chatdoctor_hub.corpus.reading.records import RecordProblem
from chatdoctor_hub.corpus.reading.source import SourceConfig
from chatdoctor_hub.corpus.reading.stream import DialogueStream, stream_dialogues

__all__ = [
    "DialogueFile",
    "DialogueStream",
    "Provenance",
    "RecordProblem",
    "SourceConfig",
    "read_dialogues",
    "stream_dialogues",
]
