from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from chatdoctor_hub import knowledge
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.knowledge import Disease, DiseaseTable, Medication, TableProblem

ODDPOX = Disease(
    "Oddpox", ("Spots", "Fever"), medications=(Medication("zinc salts", ("zinc oxide",)),), line=2
)
EVENPOX = Disease("Evenpox", ("Stripes",), cause="A virus.", line=3)


def test_a_table_is_a_sequence_of_diseases() -> None:
    table = DiseaseTable((ODDPOX, EVENPOX), source="here")
    assert len(table) == 2
    assert list(table) == [ODDPOX, EVENPOX]
    assert table[-1] is EVENPOX
    assert table[:1] == (ODDPOX,)
    assert ODDPOX in table
    assert (table.problems, table.source, dict(table.repairs)) == ((), "here", {})
    assert repr(table) == "<DiseaseTable 'here': 2 diseases, 0 problems>"


def test_a_table_is_a_value() -> None:
    table = DiseaseTable([ODDPOX], [TableProblem(3, "why")])  # type: ignore[arg-type]
    assert table == DiseaseTable((ODDPOX,), (TableProblem(3, "why"),), repairs={"x": 1})
    assert hash(table) == hash(DiseaseTable((ODDPOX,), (TableProblem(3, "why"),)))
    with pytest.raises(dataclasses.FrozenInstanceError):
        table.source = "there"  # type: ignore[misc]


def test_a_table_without_diseases_is_refused() -> None:
    with pytest.raises(DataFormatError, match="at least one disease in a table, found none"):
        DiseaseTable(())


def test_the_digest_covers_every_field_but_the_line_and_the_raw_cells() -> None:
    digest = DiseaseTable((ODDPOX, EVENPOX)).digest
    assert len(digest) == 64
    assert digest == DiseaseTable((ODDPOX, EVENPOX), source="elsewhere").digest
    assert digest == DiseaseTable((dataclasses.replace(ODDPOX, line=9), EVENPOX)).digest
    assert digest == DiseaseTable((dataclasses.replace(ODDPOX, raw={"disease": " oddpox"}), EVENPOX)).digest
    assert digest != DiseaseTable((EVENPOX, ODDPOX)).digest
    for field in dataclasses.fields(Disease):
        if field.name in ("line", "raw"):
            continue
        other = {"medications": (Medication("zinc salts", ("zinc",)),)}.get(field.name, ("x",))
        value = other if field.type.startswith("tuple") else "x"
        assert digest != DiseaseTable((dataclasses.replace(ODDPOX, **{field.name: value}), EVENPOX)).digest


def test_a_medication_is_written_with_its_examples() -> None:
    assert str(ODDPOX.medications[0]) == "zinc salts (zinc oxide)"
    assert str(Medication("zinc")) == "zinc"


def test_the_room_exports_what_it_says() -> None:
    assert {"Disease", "DiseaseIndex", "DiseaseTable", "Hit", "WikipediaSource"} <= set(knowledge.__all__)
    assert all(hasattr(knowledge, name) for name in knowledge.__all__)


def test_the_published_table_is_read_whole(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "chatdoctor" / "format_dataset.csv"
    table = DiseaseTable.from_csv(path)
    assert len(table) == 796
    assert table.problems == ()
    assert [disease.line for disease in table] == list(range(2, 798))
    assert sum(len(disease.symptoms) for disease in table) == 9102
    assert sum(not disease.tests for disease in table) == 2
    assert all(disease.medications for disease in table)
    assert sum(not disease.cause for disease in table) == 125
    texts = [
        text for d in table for text in (d.name, d.cause, *d.symptoms, *d.tests, *map(str, d.medications))
    ]
    assert not [
        text for text in texts if "\\" in text or text != " ".join(text.split()) or text.endswith(",")
    ]
    assert sum("'" in disease.name for disease in table) == 2
    assert table.repairs["backslashes taken out of 'reason'"] == 239
    shutil.copy(path, tmp_path / path.name)
    assert DiseaseTable.from_csv(tmp_path / path.name).digest == table.digest
