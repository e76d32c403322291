"""`Disease`: one row of a disease table, as a frozen value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Disease", "Medication"]


@dataclass(frozen=True)
class Medication:
    """A medication or a class of them.

    Args:
        name: the class ("proton pump inhibitor") or, where a table has only drugs, the drug.
        examples: drugs of that class; empty where the table names none.
    """

    name: str
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} ({', '.join(self.examples)})" if self.examples else self.name


@dataclass(frozen=True)
class Disease:
    """What the table says of one disease.

    Args:
        name: as a patient would find it in a leaflet.
        symptoms: in clinical words.
        lay_symptoms: the same in patients' words, or empty where the table has none.
        cause: what it is and why it comes about, in sentences.
        tests: examinations and tests that are used to find or confirm it.
        medications: what is commonly given for it.
        red_flags: signs that need help at once.
        see_doctor: when to see a doctor, one sentence.
        self_care: what a person can do at home, one piece of advice each.
        questions: what a doctor would ask before advising.
        icd10cm: its ICD-10-CM code ("E11.9"), or "".
        doid: its id in the Disease Ontology ("DOID:9352"), or "".
        source: where these facts come from.
        line: the line of the file that holds the row (from 1; in a Parquet file the row), or 0 where there is
            none.
        raw: for each column of the file the text of the cell as it stands there, before any cleaning; it does not
            count when rows are compared. Empty where the row was not read from a file.
    """

    name: str
    symptoms: tuple[str, ...]
    lay_symptoms: tuple[str, ...] = ()
    cause: str = ""
    tests: tuple[str, ...] = ()
    medications: tuple[Medication, ...] = ()
    red_flags: tuple[str, ...] = ()
    see_doctor: str = ""
    self_care: tuple[str, ...] = ()
    questions: tuple[str, ...] = ()
    icd10cm: str = ""
    source: str = ""
    line: int = 0
    doid: str = ""
    raw: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
