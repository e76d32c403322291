"""What is known: disease tables, search over them, and pages of Wikipedia.

Names are resolved on first use, so importing this room loads none of its modules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatdoctor_hub.knowledge.csv_layouts import TableProblem as TableProblem
    from chatdoctor_hub.knowledge.disease import Disease as Disease
    from chatdoctor_hub.knowledge.disease import Medication as Medication
    from chatdoctor_hub.knowledge.index import DiseaseIndex as DiseaseIndex
    from chatdoctor_hub.knowledge.search import Hit as Hit
    from chatdoctor_hub.knowledge.table import DiseaseTable as DiseaseTable
    from chatdoctor_hub.knowledge.wikipedia import Passage as Passage
    from chatdoctor_hub.knowledge.wikipedia import WikipediaSource as WikipediaSource

_HOMES = {
    "Disease": "disease",
    "DiseaseIndex": "index",
    "DiseaseTable": "table",
    "Hit": "search",
    "Medication": "disease",
    "Passage": "wikipedia",
    "TableProblem": "csv_layouts",
    "WikipediaSource": "wikipedia",
}

__all__ = [
    "Disease",
    "DiseaseIndex",
    "DiseaseTable",
    "Hit",
    "Medication",
    "Passage",
    "TableProblem",
    "WikipediaSource",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
