"""What is known: disease tables, search over them, and pages of Wikipedia.

Names are resolved on first use, so importing this room loads none of its modules.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatdoctor_hub.knowledge.disease import Disease as Disease
    from chatdoctor_hub.knowledge.disease import Medication as Medication
    from chatdoctor_hub.knowledge.searching.index import DiseaseIndex as DiseaseIndex
    from chatdoctor_hub.knowledge.searching.search import Hit as Hit
    from chatdoctor_hub.knowledge.table import DiseaseTable as DiseaseTable
    from chatdoctor_hub.knowledge.tables.rows import TableProblem as TableProblem
    from chatdoctor_hub.knowledge.wikipedia import Passage as Passage
    from chatdoctor_hub.knowledge.wikipedia import WikipediaSource as WikipediaSource

_HOMES = {
    "Disease": "disease",
    "DiseaseIndex": "searching.index",
    "DiseaseTable": "table",
    "Hit": "searching.search",
    "Medication": "disease",
    "Passage": "wikipedia",
    "TableProblem": "tables.rows",
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
