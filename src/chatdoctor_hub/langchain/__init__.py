"""LangChain: `ChatDoctor`, a chat model over any engine; knowledge as retrievers, tools and `KnowledgeDoctor`.

Names are resolved on first use, so whoever wants the chat model loads nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatdoctor_hub.langchain.chat_doctor import ChatDoctor as ChatDoctor
    from chatdoctor_hub.langchain.factory import chat_model as chat_model
    from chatdoctor_hub.langchain.knowledge import Consultation as Consultation
    from chatdoctor_hub.langchain.knowledge_doctor import KnowledgeDoctor as KnowledgeDoctor
    from chatdoctor_hub.langchain.lookup_tools import DiseaseLookup as DiseaseLookup
    from chatdoctor_hub.langchain.lookup_tools import WikipediaLookup as WikipediaLookup
    from chatdoctor_hub.langchain.lookup_tools import disease_lookup as disease_lookup
    from chatdoctor_hub.langchain.lookup_tools import wikipedia_lookup as wikipedia_lookup
    from chatdoctor_hub.langchain.retrievers import DiseaseRetriever as DiseaseRetriever
    from chatdoctor_hub.langchain.retrievers import WikipediaRetriever as WikipediaRetriever

_HOMES = {
    "ChatDoctor": "chat_doctor",
    "Consultation": "knowledge",
    "DiseaseLookup": "lookup_tools",
    "DiseaseRetriever": "retrievers",
    "KnowledgeDoctor": "knowledge_doctor",
    "WikipediaLookup": "lookup_tools",
    "WikipediaRetriever": "retrievers",
    "chat_model": "factory",
    "disease_lookup": "lookup_tools",
    "wikipedia_lookup": "lookup_tools",
}

__all__ = [
    "ChatDoctor",
    "Consultation",
    "DiseaseLookup",
    "DiseaseRetriever",
    "KnowledgeDoctor",
    "WikipediaLookup",
    "WikipediaRetriever",
    "chat_model",
    "disease_lookup",
    "wikipedia_lookup",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
