"""The table itself as short dialogues: what is known of each disease."""

from __future__ import annotations

from collections.abc import Iterable

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.knowledge import Disease

__all__ = ["lookups"]


def lookups(table: Iterable[Disease]) -> list[Dialogue]:
    """One dialogue a row: a question for the disease by name, and its symptoms, tests and medications.

    A small base that reads the table beside the dialogues learns which symptoms, tests and medications
    belong together.
    """
    return [
        Dialogue(
            (Turn("patient", f"What is known of {disease.name.lower()}?"), Turn("doctor", _facts(disease))),
            id=f"lookup-{number}",
            source="lookup",
            topic=disease.name,
        )
        for number, disease in enumerate(table)
    ]


def _facts(disease: Disease) -> str:
    lists = (
        ("Symptoms", disease.symptoms),
        ("Tests", disease.tests),
        ("Medications", [str(medication) for medication in disease.medications]),
    )
    said = [f"{title}: {', '.join(items).lower()}." for title, items in lists if items]
    return " ".join([f"{disease.name}.", *said])
