"""Dialogues written from a disease table, and the general and safety turns of a small base model."""

from __future__ import annotations

from chatdoctor_hub.corpus.writing.behaviour import general_dialogues, safety_dialogues
from chatdoctor_hub.corpus.writing.lookups import lookups
from chatdoctor_hub.corpus.writing.synthesis import synthesize

__all__ = ["general_dialogues", "lookups", "safety_dialogues", "synthesize"]
