"""Pages of Wikipedia in passages, with revision and licence."""

from __future__ import annotations

from chatdoctor_hub.knowledge.wikipedia.source import Passage, WikipediaSource

__all__ = ["Passage", "WikipediaSource"]
