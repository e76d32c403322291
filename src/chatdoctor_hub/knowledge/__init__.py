"""Disease tables: the starter table, ChatDoctor's CSV layouts, and a simple search over either."""

from __future__ import annotations

from chatdoctor_hub.knowledge.csv_layouts import TableProblem
from chatdoctor_hub.knowledge.disease import Disease, Medication
from chatdoctor_hub.knowledge.search import Hit
from chatdoctor_hub.knowledge.table import DiseaseTable

__all__ = ["Disease", "DiseaseTable", "Hit", "Medication", "TableProblem"]
