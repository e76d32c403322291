"""Every format, told from the content; what is in none of them; what breaks in the middle."""

from __future__ import annotations

import csv
import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.reading import SourceConfig, read_dialogues, stream_dialogues
from chatdoctor_hub.corpus.reading.delimited import csv_rows
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError

ROWS = [
    {"instruction": "", "input": 'It "aches", badly.', "output": "See a dentist.\nToday."},
    {"instruction": "", "input": "牙疼；很久了", "output": "=1+1, µg ≥ 5"},
    {"instruction": "Be kind.", "input": "Third\tcell", "output": "a|b;c"},
]


def as_csv(separator: str, end: str = "\r\n") -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(
        text, list(ROWS[0]), delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL
    )
    writer.writeheader()
    writer.writerows(ROWS)
    return text.getvalue().encode()


def zst(data: bytes) -> bytes:
    pa = pytest.importorskip("pyarrow")
    return bytes(pa.compress(data, "zstd", asbytes=True))


def parquet(rows: list[dict[str, Any]], **options: Any) -> bytes:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink, **options)
    return sink.getvalue()


LINES = "\n".join(json.dumps(row) for row in ROWS).encode()
ARRAY = json.dumps(ROWS, ensure_ascii=False).encode()
FORMATS: dict[str, Any] = {
    "array": lambda: ARRAY,
    "array with bom": lambda: b"\xef\xbb\xbf" + ARRAY,
    "lines": lambda: LINES,
    "lines, crlf, bom": lambda: b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n"),
    "gzip": lambda: gzip.compress(LINES),
    "gzip array": lambda: gzip.compress(ARRAY),
    "zstd": lambda: zst(LINES),
    "csv": lambda: as_csv(","),
    "csv with bom": lambda: b"\xef\xbb\xbf" + as_csv(","),
    "csv, lf": lambda: as_csv(",", "\n"),
    "csv, cr": lambda: as_csv(",", "\r").replace(b"\n", b"\r"),
    "csv, gzip": lambda: gzip.compress(as_csv(",")),
    "csv, capitals": lambda: as_csv(",").replace(
        b'"instruction","input","output"', b'Instruction, INPUT ,"Output"', 1
    ),
    "tsv": lambda: as_csv("\t"),
    "semicolons": lambda: as_csv(";"),
    "parquet": lambda: parquet(ROWS),
    "parquet, plain": lambda: parquet(ROWS, use_dictionary=False, compression="none"),
    "parquet, row groups": lambda: parquet(ROWS, row_group_size=1),
}


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_told_from_its_content(tmp_path: Path, name: str) -> None:
    file = tmp_path / "data"
    file.write_bytes(FORMATS[name]())
    read = read_dialogues(file, strict=True)
    assert [[turn.content for turn in item.turns] for item in read] == [
        ['It "aches", badly.', "See a dentist.\nToday."],
        ["牙疼；很久了", "=1+1, µg ≥ 5"],
        ["Be kind.", "Third\tcell", "a|b;c"],
    ]
    assert [item.id for item in read] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ('[{"input": "a", "output": "b"}]'.encode("utf-16"), "found UTF-16 or UTF-32"),
        ('[{"input": "a", "output": "b"}]'.encode("utf-16-le"), "found UTF-16 or UTF-32"),
        ("input,output\na,b".encode("utf-16-be"), "found UTF-16 or UTF-32"),
        ("input,output\na,b".encode("utf-32"), "found UTF-16 or UTF-32"),
        (pickle.dumps({"input": "a"}), "found a pickle, which could run any code and is never read"),
        (b"%PDF-1.7", "found a PDF"),
        (gzip.compress(b""), "found an empty file"),
    ],
)
def test_a_foreign_format_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    file = tmp_path / "data.json"
    file.write_bytes(content)
    with pytest.raises(DataFormatError, match=found):
        read_dialogues(file)


def test_a_spreadsheet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("xl/sheet.xml", "secret")
    with pytest.raises(DataFormatError, match="found a ZIP archive or a spreadsheet; export it"):
        read_dialogues(file)


def test_a_csv_of_other_columns(tmp_path: Path) -> None:
    file = tmp_path / "data.csv"
    file.write_text("enquiry,reply\nsecret,secret\n", encoding="utf-8")
    with pytest.raises(DataFormatError, match="found records with the keys enquiry, reply"):
        read_dialogues(file)


def test_broken_rows_of_a_csv_cost_themselves(tmp_path: Path) -> None:
    rows = [
        b"input,output",
        b"a,b",
        b'"a" secret,b',  # text after a closing quote
        b"c",  # too few cells
        b"d,e,f",
        b"5 \xb5g,b",  # another encoding
        b",",  # blank
        b'g,"h',  # a quote that is never closed: it costs this line alone
        b"i,j",
        b'k,"he said ""rest"" twice"',
        b"l," + b"x" * 200_000,
        b"m,n",
    ]
    file = tmp_path / "data.csv"
    file.write_bytes(b"\r\n".join(rows))
    read = read_dialogues(file)
    assert [item.turns[0].content for item in read] == ["a", "i", "k", "m"]
    assert read[2].turns[1].content == 'he said "rest" twice'
    assert [(problem.record, problem.line, problem.file) for problem in read.problems] == [
        (2, 3, "data.csv"),
        (3, 4, "data.csv"),
        (4, 5, "data.csv"),
        (5, 6, "data.csv"),
        (6, 8, "data.csv"),
        (9, 11, "data.csv"),
    ]
    reasons = [problem.reason for problem in read.problems]
    assert reasons[0].startswith("expected a separator after a closing quote, found more text")
    assert reasons[1:3] == [
        "expected 2 cells, as in the header, found 1",
        "expected 2 cells, as in the header, found 3",
    ]
    assert reasons[3] == "expected text in UTF-8, found another byte in cell 1"
    assert reasons[4].endswith("a quote that opens here runs on to a later line")
    assert reasons[5].startswith("expected at most 131,072 characters in a cell")
    assert not any("secret" in reason for reason in reasons)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            *[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)] * 2
        ),
        max_size=6,
    ),
    st.sampled_from([",", "\t", ";", "|"]),
    st.sampled_from(["\r\n", "\n"]),
)
def test_csv_round_trip(rows: list[tuple[str, str]], separator: str, end: str) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator, lineterminator=end, quoting=csv.QUOTE_ALL).writerows(
        [("input", "output"), *rows]
    )
    found = list(csv_rows(io.BytesIO(text.getvalue().encode()), separator))
    ends = [tuple(cell.replace("\r\n", "\n").replace("\r", "\n") for cell in row) for row in rows]
    kept = [row for row in ends if any(cell.strip() for cell in row)]
    assert [record.fault for record in found] == [None] * len(kept)
    assert [tuple(record.value.values()) for record in found] == kept


def test_an_archive_that_ends_early_gives_what_it_has(tmp_path: Path) -> None:
    lines = b"".join(
        json.dumps({"input": str(n), "output": f"{n * n}"}).encode() + b"\n" for n in range(20_000)
    )
    file = tmp_path / "data.jsonl.gz"
    file.write_bytes(gzip.compress(lines)[:-2000])
    read = read_dialogues(file)
    assert 1000 < len(read) < 20_000
    assert read.problems[-1].reason.endswith("end early or are damaged: the file was not read on")
    with pytest.raises(DataFormatError, match=r"data.jsonl.gz to be a dialogue, found record \d+"):
        read_dialogues(file, strict=True)


def test_a_damaged_parquet_file(tmp_path: Path) -> None:
    whole = parquet([{"input": f"{n}", "output": f"{n * n}"} for n in range(1000)], row_group_size=100)
    file = tmp_path / "data.parquet"
    for damaged in (whole[:100], whole[:-8], b"PAR1" + b"\x00" * 50 + b"PAR1"):
        file.write_bytes(damaged)
        with pytest.raises(DataFormatError, match="the Parquet data are damaged"):
            read_dialogues(file)
    middle = len(whole) // 4
    file.write_bytes(whole[:middle] + b"\xff" * 200 + whole[middle + 200 :])
    (problem,) = read_dialogues(file).problems
    assert problem.record > 1
    assert "the file was not read on" in problem.reason


def test_only_the_columns_that_are_needed_are_read(tmp_path: Path) -> None:
    rows = [{"input": "a", "output": "b", "embedding": [0.5] * 8, "id": 7, "text": "a b"}] * 3
    (tmp_path / "data.parquet").write_bytes(parquet(rows))
    read = read_dialogues(tmp_path / "data.parquet")
    assert [item.id for item in read] == ["7", "7", "7"]
    assert read.repairs == {"ids_repeated": 2}


def test_parquet_of_messages(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    rows = [{"messages": messages, "topic": None}, {"messages": None, "topic": "x"}] * 300
    (tmp_path / "data.parquet").write_bytes(parquet(rows))
    read = read_dialogues(tmp_path / "data.parquet")
    assert len(read) == len(read.problems) == 300
    assert read[0].to_messages() == messages
    assert read.problems[0].reason == "expected a list in 'messages', found null"


@pytest.mark.parametrize(
    "first", ['{"meta": {"a": 1}, "input": "a", "output": "b"}', '{"meta": [1], "messages": []}']
)
def test_lines_whose_first_value_is_an_object_are_lines(tmp_path: Path, first: str) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text(f'{first}\n{{"input": "c", "output": "d"}}\n', encoding="utf-8")
    assert read_dialogues(file)[-1].turns[0].content == "c"


def test_a_first_line_longer_than_the_head(tmp_path: Path) -> None:
    long = {"meta": {"a": "x" * 200_000}, "input": "a", "output": "b"}
    file = tmp_path / "data.jsonl"
    for rows in ([long], [long, ROWS[0]], [{**ROWS[0], "x": "y" * 200_000}] * 2):
        file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        assert len(read_dialogues(file, strict=True)) == len(rows)


def test_a_first_line_that_is_broken_costs_itself(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    file.write_text('{"input": "a", "outp\n{"input": "c", "output": "d"}\n', encoding="utf-8")
    read = read_dialogues(file)
    assert (len(read), [problem.line for problem in read.problems]) == (1, [1])


def test_a_folder_of_shards(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_bytes(LINES)
    (tmp_path / "a.csv").write_bytes(as_csv(",") + b"only one cell\r\n")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "d.parquet").write_bytes(parquet(ROWS))
    for other in (".hidden.json", "dataset_info.json", "README.md"):
        (tmp_path / other).write_text("secret", encoding="utf-8")
    items = list(stream_dialogues(tmp_path))
    ids = [item.id for item in items if isinstance(item, Dialogue)]
    assert ids == [f"{name}:{n}" for name in ("a.csv", "b.jsonl", "c/d.parquet") for n in (1, 2, 3)]
    (problem,) = (item for item in items if not isinstance(item, Dialogue))
    assert (problem.file, problem.record, problem.line) == ("a.csv", 4, 6)
    with pytest.raises(DataFormatError, match=r"a\.csv of .* to be a dialogue, found record 4 \(line 6\)"):
        list(stream_dialogues(tmp_path, strict=True))


def test_the_training_split_of_a_folder(tmp_path: Path) -> None:
    for name in ("train-0.jsonl", "train-1.jsonl", "test.jsonl", "valid.jsonl"):
        (tmp_path / name).write_text(json.dumps({"input": name, "output": "b"}), encoding="utf-8")
    stream = stream_dialogues(tmp_path)
    assert "read: train, 2 of 4 files" in stream.provenance.notes
    assert {item.turns[0].content for item in stream if isinstance(item, Dialogue)} == {
        "train-0.jsonl",
        "train-1.jsonl",
    }
    for split, name in (("test", "test.jsonl"), ("validation", "valid.jsonl")):
        (only,) = read_dialogues(SourceConfig(path=str(tmp_path), split=split))
        assert only.turns[0].content == name
    with pytest.raises(DataFormatError, match="of the split 'dev2'"):
        read_dialogues(SourceConfig(path=str(tmp_path), split="dev2"))


def test_a_corpus_folder_is_no_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "corpus.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataFormatError, match=r"found a corpus folder; open it with Corpus\.open"):
        read_dialogues(tmp_path)


def test_a_file_of_another_kind_among_others_costs_itself(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.json").write_bytes(b"")
    (tmp_path / "c.json").write_bytes("[]".encode("utf-16"))
    (tmp_path / "d.jsonl").write_bytes(LINES)
    read = read_dialogues(tmp_path)
    assert len(read) == 6
    assert [problem.file for problem in read.problems] == ["b.json", "c.json"]
    assert "found an empty file" in read.problems[0].reason
    assert "found UTF-16" in read.problems[1].reason
    with pytest.raises(DataFormatError, match=r"b\.json of .* found record 1: "):
        read_dialogues(tmp_path, strict=True)
