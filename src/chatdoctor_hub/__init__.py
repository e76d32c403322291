"""From a base model to a safe medical chat model, on the Hub and in LangChain.

The one idea: a model is tuned under a prompt *without* a safety prompt and served under one *with* it
(PTST, "Pure Tuning, Safe Testing", arXiv 2402.18540). Both forms are one `PromptPair` that travels with
the weights.

Rooms and their ranks; a room imports only from rooms of a lower rank, on the ground floor also from those
named before it (`tests/test_architecture.py` reads this table):

    0  errors, dialogue, folders, proportion
    1  knowledge, prompts, safety, cards
    2  corpus, models, adapters
    3  training
    4  release
    5  inference
    6  hub
    7  langchain, evaluation
    8  quickstart
    9  cli

Importing this package loads nothing heavy: the names below are resolved on first use (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from chatdoctor_hub.dialogue import Dialogue as Dialogue
    from chatdoctor_hub.dialogue import Turn as Turn
    from chatdoctor_hub.knowledge import Disease as Disease
    from chatdoctor_hub.knowledge import DiseaseTable as DiseaseTable
    from chatdoctor_hub.langchain import ChatDoctor as ChatDoctor
    from chatdoctor_hub.langchain import chat_model as chat_model
    from chatdoctor_hub.prompts import PromptPair as PromptPair

_HOMES = {
    "ChatDoctor": "chatdoctor_hub.langchain",
    "Dialogue": "chatdoctor_hub.dialogue",
    "Disease": "chatdoctor_hub.knowledge",
    "DiseaseTable": "chatdoctor_hub.knowledge",
    "PromptPair": "chatdoctor_hub.prompts",
    "Turn": "chatdoctor_hub.dialogue",
    "chat_model": "chatdoctor_hub.langchain",
}

__all__ = [
    "ChatDoctor",
    "Dialogue",
    "Disease",
    "DiseaseTable",
    "PromptPair",
    "Turn",
    "__version__",
    "chat_model",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
