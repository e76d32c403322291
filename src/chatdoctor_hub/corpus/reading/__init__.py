"""Dialogues from the files in which they circulate, each repair and each loss counted."""

from __future__ import annotations

from chatdoctor_hub.corpus.reading.readers import DialogueFile, RecordProblem, read_dialogues

__all__ = ["DialogueFile", "RecordProblem", "read_dialogues"]
