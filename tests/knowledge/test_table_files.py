from __future__ import annotations

import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import ChatDoctorError, DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge.tables.table_files import read_table_file

ROW = {"disease": " Oddpox ", "Symptom": ["Spots", "Fever"], "DOID": 9352}
NEED = "pyarrow is not installed: install the extra 'corpus' to run this test"


def json_lines(folder: Path, *rows: Any) -> Path:
    path = folder / "table.jsonl"
    lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def parquet(folder: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pa = pytest.importorskip("pyarrow", reason=NEED)
    import pyarrow.parquet as pq

    path = folder / "table.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def test_json_lines_are_read_with_their_lines(tmp_path: Path) -> None:
    text = {"disease": "Evenpox", "Symptom": "['Stripes']", "DOID": None}
    found = read_table_file(json_lines(tmp_path, ROW, "", text))
    assert [(d.name, d.symptoms, d.doid, d.source, d.line) for d in found.diseases] == [
        ("Oddpox", ("Spots", "Fever"), "DOID:9352", "table.jsonl", 1),
        ("Evenpox", ("Stripes",), "", "table.jsonl", 3),
    ]
    assert found.diseases[0].raw == {"disease": " Oddpox ", "Symptom": "['Spots', 'Fever']", "DOID": "9352"}


def test_parquet_is_read_with_its_row_numbers(tmp_path: Path) -> None:
    rows = [
        {"disease": f"Pox {n}", "Symptom": ["Spots"], "Medical Tests": ["Swab"], "Medications": []}
        for n in range(200)
    ]
    rows[150]["Symptom"] = []
    found = read_table_file(parquet(tmp_path, rows))
    assert [(d.name, d.line) for d in found.diseases[:2]] == [("Pox 0", 1), ("Pox 1", 2)]
    assert found.diseases[0].tests == ("Swab",)
    assert len(found.diseases) == 199
    assert [problem.line for problem in found.problems] == [151]


def test_what_is_wrong_with_a_line_is_a_problem(tmp_path: Path) -> None:
    found = read_table_file(
        json_lines(
            tmp_path,
            ROW,
            "{",
            "[1]",
            "[" * 100_000,
            {"disease": "X"},
            {**ROW, "Symptom": [["nested"]]},
            {**ROW, "Symptom": {"a": 1}},
            {**ROW, "Symptom": ["x" * 70_000]},
            {**ROW, "Symptom": "x" * 300_000},
            {**ROW, "disease": "nan"},
            ROW,
            {**ROW, "disease": "Last"},
        )
    )
    assert [disease.name for disease in found.diseases] == ["Oddpox", "Last"]
    assert [problem.line for problem in found.problems] == [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
    reasons = [problem.reason for problem in found.problems]
    assert reasons[0] == "expected a JSON object, found something else"
    assert "columns of the first row" in reasons[3]
    assert "text or a list of texts in column 2" in reasons[4]
    assert "at most 65,536 characters in a cell, found more in cell 2" in reasons[6]
    assert "at most 262,144 characters in a row" in reasons[7]
    with pytest.raises(
        DataFormatError, match=r"Expected every row of table.jsonl to be readable, found at line 2"
    ):
        read_table_file(tmp_path / "table.jsonl", strict=True)


def test_a_line_in_another_encoding_is_a_problem(tmp_path: Path) -> None:
    path = json_lines(tmp_path, ROW)
    with path.open("ab") as stream:
        stream.write(b'{"disease": "M\xe9", "Symptom": ["x"], "DOID": null}\n')
    (problem,) = read_table_file(path).problems
    assert (problem.line, "expected UTF-8" in problem.reason) == (2, True)


def test_a_line_of_a_hundred_megabytes_is_one_problem(tmp_path: Path) -> None:
    path = json_lines(tmp_path, ROW)
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"disease": "')
        for _ in range(100):
            stream.write("x" * (1 << 20))
        stream.write('"}\n')
    tracemalloc.start()
    found = read_table_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(found.diseases), [problem.line for problem in found.problems]) == (1, [2])
    assert peak < 16 << 20


def test_a_parquet_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path) -> None:
    big = "['" + "x" * (8 << 20) + "']"
    path = parquet(tmp_path, [{"disease": f"Pox {n}", "Symptom": big} for n in range(64)], compression="zstd")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(
        DataFormatError, match=r"at most 65,536 characters a cell in .*, found 64 rows of 512 MiB"
    ):
        read_table_file(path)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 400 + b"PAR1", b"x" * 100])
def test_what_is_no_parquet_is_refused(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("pyarrow", reason=NEED)
    path = tmp_path / "table.parquet"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=r"Expected .*table.parquet to be a Parquet file"):
        read_table_file(path)


def test_other_columns_endings_and_empty_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="to have the columns idx,disease,Symptom,reason"):
        read_table_file(parquet(tmp_path, [{"question": "secret words"}]))
    with pytest.raises(DataFormatError) as caught:
        read_table_file(json_lines(tmp_path, {"secret words": 1}))
    assert "secret" not in str(caught.value)
    with pytest.raises(DataFormatError, match="Expected a row on line 1"):
        read_table_file(json_lines(tmp_path, "[1]"))
    with pytest.raises(DataFormatError, match="Expected rows of diseases below the header"):
        read_table_file(json_lines(tmp_path))
    with pytest.raises(DataFormatError, match="the only row cannot be used"):
        read_table_file(json_lines(tmp_path, {**ROW, "disease": ""}))
    with pytest.raises(DataFormatError, match=r"one of the endings .csv, .parquet"):
        read_table_file(tmp_path / "table.xlsx")
    for name in ("gone.jsonl", "gone.parquet"):
        with pytest.raises(DataNotFoundError, match=f"Expected a readable table at .*{name}"):
            read_table_file(tmp_path / name)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["disease", "Symptom", "x"]),
            st.recursive(
                st.none() | st.booleans() | st.floats() | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3),
            ),
        ),
        max_size=5,
    )
)
def test_any_json_is_rows_problems_or_one_of_our_errors(rows: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = json_lines(Path(folder), *rows)
        try:
            found = read_table_file(path)
        except ChatDoctorError as error:
            assert str(error).startswith("Expected ")  # noqa: PT017 - either outcome is right
            return
    assert len(found.diseases) + len(found.problems) == len(rows)


@given(st.binary(max_size=300))
def test_any_bytes_are_rows_or_one_of_our_errors(content: bytes) -> None:
    pytest.importorskip("pyarrow", reason=NEED)
    for name in ("any.parquet", "any.jsonl", "any.csv"):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            path.write_bytes(content)
            with pytest.raises(ChatDoctorError, match=r"^Expected "):
                read_table_file(path)
