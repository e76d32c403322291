from __future__ import annotations

import csv
import io
import os
import tempfile
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.errors import ChatDoctorError, DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge.tables.csv_records import MAX_CELL, MAX_RECORD, Record, read_records


def records_of(content: bytes | str) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
        return list(read_records(path))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_records_know_the_physical_line_they_start_on(end: str, mark: str) -> None:
    lines = ["a,b", "", '1,"two', 'lines"', "   ", "3,4"]
    assert records_of(mark + end.join(lines) + end) == [
        Record(1, ("a", "b")),
        Record(3, ("1", "two\nlines")),
        Record(6, ("3", "4")),
    ]


def test_a_row_of_another_width_is_a_fault() -> None:
    found = records_of("a,b\n1\n1,2\n1,2,3\n")
    assert [record.line for record in found if record.fault] == [2, 4]
    assert found[1].fault == "expected 2 cells, as in the header, found 1"
    assert found[2].cells == ("1", "2")


def test_a_stray_quote_costs_one_line_and_not_the_rest() -> None:
    found = records_of('a,b\n1,"never closed\n2,fine\n3,"fine"\n4,fine\n')
    assert [(record.line, bool(record.fault)) for record in found] == [
        (1, False),
        (2, True),
        (3, False),
        (4, False),
        (5, False),
    ]
    assert "a quote that opens here runs on to a later line" in found[1].fault


def test_rows_that_a_stray_quote_would_join_are_tried_again() -> None:
    found = records_of('a,b\n1,"stray\n2,"\n3,fine\n')
    assert [record.cells for record in found if not record.fault] == [
        ("a", "b"),
        ("1", "stray\n2,"),
        ("3", "fine"),
    ]
    found = records_of('a,b,c\n1,"stray,x\n2,y",z\n')  # closes, and happens to fit: nothing is odd about it
    assert [record.fault for record in found] == ["", ""]
    found = records_of('a,b,c\n1,"stray\n2,",x,y\n3,4,5\n')
    assert [(record.line, bool(record.fault)) for record in found] == [
        (1, False),
        (2, True),
        (3, True),
        (4, False),
    ]


def test_text_after_a_closing_quote_is_a_fault() -> None:
    (_, record) = records_of('a,b\n"say "aah"",2\n')
    assert "expected a comma after a closing quote" in record.fault


def test_nul_is_a_fault() -> None:
    found = records_of("a,b\n1,\0\n3,4\n")
    assert "NUL" in found[1].fault
    assert found[2].cells == ("3", "4")


def test_cells_and_lines_have_bounds() -> None:
    fits, cell, line = "x" * MAX_CELL, "x" * (MAX_CELL + 1), "x" * (MAX_RECORD + 7)
    found = records_of(f"a,b\n1,{fits}\n2,{cell}\n3,{line}\n4,fine\n")
    assert [(record.line, bool(record.fault)) for record in found] == [
        (1, False),
        (2, False),
        (3, True),
        (4, True),
        (5, False),
    ]
    assert "at most 65,536 characters in a cell" in found[2].fault
    assert "at most 262,144 characters in a row" in found[3].fault


def test_a_huge_cell_does_not_fill_the_memory() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "huge.csv"
        with path.open("w", encoding="utf-8") as stream:
            stream.write("a,b\n1,")
            for _ in range(24):
                stream.write("x" * (1 << 20))
            stream.write("\n2,fine\n")
        tracemalloc.start()
        found = list(read_records(path))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert [(record.line, bool(record.fault)) for record in found] == [(1, False), (2, True), (3, False)]
    assert peak < 8 << 20


def test_a_lowered_limit_of_the_csv_module_is_a_fault_too() -> None:
    before = csv.field_size_limit(100)
    try:
        found = records_of("a,b\n1," + "x" * 200 + "\n2,fine\n")
    finally:
        csv.field_size_limit(before)
    assert "expected at most" in found[1].fault
    assert found[2].cells == ("2", "fine")


CELLS = st.text(st.characters(exclude_characters="\0\r", exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_writer_writes_is_read_back(rows: list[list[str]], end: str) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator=end).writerows([["a", "b", "c"], *rows])
    assert [list(record.cells) for record in records_of(stream.getvalue())] == [["a", "b", "c"], *rows]


@given(st.binary(max_size=400) | st.text(alphabet='",\n\r\0ab', max_size=200).map(str.encode))
def test_any_bytes_are_records_or_one_of_our_errors(content: bytes) -> None:
    try:
        lines = [record.line for record in records_of(content)]
    except ChatDoctorError:
        return
    assert lines == sorted(set(lines))


@pytest.mark.parametrize("before", [0, 10, (1 << 20) - 1, 1 << 20, (1 << 20) + 5])
def test_a_header_that_is_not_utf8_is_refused_with_the_place(tmp_path: Path, before: int) -> None:
    path = tmp_path / "latin.csv"
    lines, left = divmod(before, 1024)
    path.write_bytes((b" " * 1023 + b"\n") * lines + b"\n" * left + "\u00e9".encode() + b",b\xe9t\xe9\n1,2\n")
    with pytest.raises(DataFormatError) as caught:
        list(read_records(path))
    assert f"offset {before + 4} (line {lines + left + 1})" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_row_in_another_encoding_is_a_fault_of_that_row() -> None:
    found = records_of("a,b\n1,\u00e9\n".encode() + b'2,"\xe9t\xe9\n3",\xe9\n4,"\n\xff"\n5,fine\n')
    assert [record.line for record in found if not record.fault] == [1, 2, 7]
    assert {record.line for record in found if "expected UTF-8" in record.fault} == {3, 4, 5, 6}
    assert "expected UTF-8, found bytes of another encoding" in found[2].fault


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ("a,b".encode("utf-16"), "UTF-16 text"),
        (b"PK\x03\x04\xff", "a spreadsheet or another ZIP archive"),
        (b"\x1f\x8b\x08", "a gzip archive"),
    ],
)
def test_other_kinds_of_file_are_named(tmp_path: Path, content: bytes, kind: str) -> None:
    path = tmp_path / "other.csv"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=kind):
        list(read_records(path))


def test_a_cut_off_last_character_is_a_fault() -> None:
    found = records_of(b"a,b\n1,2\n1,\xc3")
    assert [bool(record.fault) for record in found] == [False, False, True]


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "line", ['1,"\n', '"x""\n', ',"a\n', 'a"b,"c\n', '1,"x\n"y\n', '"\n,\n', '""",\n', "\xff\n"]
)
def test_no_pattern_of_quotes_takes_long(line: str) -> None:
    """Each line is tried again on its own after a fault: that must not read the rest of the file each time."""
    start = time.process_time()
    records_of(("a,b\n" + line * (400_000 // len(line))).encode("latin-1"))
    assert time.process_time() - start < 8


def test_what_is_no_readable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match="found nothing there"):
        list(read_records(tmp_path / "missing.csv"))
    with pytest.raises(DataNotFoundError, match="found a folder there"):
        list(read_records(tmp_path))
    with pytest.raises(DataNotFoundError, match=r"cannot be read|found nothing"):
        list(read_records(tmp_path / ("long" * 100)))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataNotFoundError, match="found no regular file there"):
        list(read_records(tmp_path / "pipe"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file: run as another user")
def test_a_file_without_permission_is_named(tmp_path: Path) -> None:
    path = tmp_path / "locked.csv"
    path.write_text("a,b\n", encoding="utf-8")
    path.chmod(0)
    with pytest.raises(DataNotFoundError, match="Permission denied"):
        list(read_records(path))
