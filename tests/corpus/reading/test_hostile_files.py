"""Files made to break a reader: what they cost in time and memory, and what is told of them."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.reading import RecordProblem, read_dialogues, stream_dialogues
from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataError, DataFormatError

GOOD = '{"input": "a", "output": "b"}'
HUGE = 100 * 1024 * 1024


@contextmanager
def bounded(seconds: float, megabytes: int | None = None) -> Iterator[None]:
    """Fail when the block takes longer, or Python holds more memory in it."""
    if megabytes is None:
        start = time.perf_counter()
        yield
        assert time.perf_counter() - start < seconds
        return
    tracemalloc.start()
    start = time.perf_counter()
    try:
        yield
        took = time.perf_counter() - start
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert took < seconds
    assert peak < megabytes * 1024 * 1024


def write_huge(file: Path, before: str, after: str, unit: bytes = b"x") -> None:
    with file.open("wb") as out:
        out.write(before.encode())
        for _ in range(HUGE >> 20):
            out.write(unit * (1 << 20))
        out.write(after.encode())


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("lines", f'{GOOD}\n{{"input": "', f'"}}\n{GOOD}\n'),
        ("array", f'[{GOOD}, {{"input": "', f'"}}, {GOOD}]'),
        ("csv", 'input,output\na,b\n"', '",b\na,b\n'),
    ],
)
def test_a_record_of_100_mb_is_a_problem_and_no_more(
    tmp_path: Path, name: str, before: str, after: str
) -> None:
    file = tmp_path / f"d.{name}"
    write_huge(file, before, after)
    with bounded(seconds=20, megabytes=80):
        items = list(stream_dialogues(file))
    assert [type(item) for item in items] == [Dialogue, RecordProblem, Dialogue]
    assert "expected at most" in str(items[1])


def test_a_line_of_100_mb_of_quotes_in_a_csv(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    write_huge(file, "input,output\na,b\n", "\na,b\n", b'"')
    with bounded(seconds=20, megabytes=80):
        items = list(stream_dialogues(file))
    assert [type(item) for item in items] == [Dialogue, RecordProblem, Dialogue]


def test_many_stray_quotes_take_linear_time(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_text("input,output\n" + 'a,"b\n' * 40_000 + "a,b\n", encoding="utf-8")
    with bounded(seconds=10):
        items = list(stream_dialogues(file))
    assert isinstance(items[-1], Dialogue)


def test_a_quote_that_is_never_closed_costs_its_line(tmp_path: Path) -> None:
    file = tmp_path / "d.csv"
    file.write_text('input,output\na,"b\n' + "a,b\n" * 50_000, encoding="utf-8")
    with bounded(seconds=10):
        items = list(stream_dialogues(file))
    assert [type(item) for item in items[:2]] == [RecordProblem, Dialogue]
    assert len(items) == 50_001


@pytest.mark.parametrize("compress", [gzip.compress, None], ids=["gzip", "zstd"])
def test_an_archive_that_expands_beyond_measure(tmp_path: Path, compress: object) -> None:
    data = f"{GOOD}\n".encode() + b" " * HUGE
    if compress is None:
        pa = pytest.importorskip("pyarrow")
        packed = bytes(pa.compress(data, "zstd", asbytes=True))
    else:
        packed = gzip.compress(data, 1)
    file = tmp_path / "d.jsonl"
    file.write_bytes(packed)
    del data
    with bounded(seconds=20, megabytes=80):
        read = read_dialogues(file)
    assert len(read) == 1
    assert read.problems[-1].reason.startswith("the compressed data expand to more than 200 times")


def parquet_bomb(rows: int, unfolded: bool) -> bytes:
    """A text of 20 MB, once, to which every row refers; or one cell of 100 MB that packs to nothing."""
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    if unfolded:
        table = pa.table({"input": ["x" * (70 << 20)], "output": ["b"]})
        pq.write_table(table, sink, compression="zstd", use_dictionary=False)
    else:
        places = pa.array([0] * rows, pa.int32())
        long = pa.DictionaryArray.from_arrays(places, pa.array(["x" * (20 << 20)]))
        roles = pa.array(["user", "assistant"] * (rows // 2))
        said = pa.StructArray.from_arrays([roles, long], ["role", "content"])
        messages = pa.ListArray.from_arrays(pa.array(range(0, rows + 1, 2), pa.int32()), said)
        table = pa.table({"messages": messages})
        # Without Arrow's own schema nothing says that the texts were a dictionary.
        pq.write_table(table, sink, compression="zstd", dictionary_pagesize_limit=1 << 30, store_schema=False)
    return sink.getvalue()


def test_a_parquet_file_that_declares_too_much_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "d.parquet"
    file.write_bytes(parquet_bomb(1, unfolded=True))
    assert file.stat().st_size < 10_000
    with (
        bounded(seconds=5, megabytes=20),
        pytest.raises(DataFormatError, match="row group 1 declares 73,400"),
    ):
        read_dialogues(file)


def test_damaged_metadata_of_parquet_does_not_end_the_process(tmp_path: Path) -> None:
    # pyarrow lets a C++ exception through when it is asked for the sizes of such a column.
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    sink = io.BytesIO()
    schema = pa.schema([pa.field("input", pa.string()), pa.field("output", pa.string())])
    pq.write_table(pa.table({"input": ["a", "b"], "output": ["c", "d"]}, schema), sink, compression="none")
    whole = sink.getvalue()
    length = int.from_bytes(whole[-8:-4], "little")
    file = tmp_path / "d.parquet"
    code = (
        "import sys\nfrom pathlib import Path\nfrom chatdoctor_hub.corpus.reading import read_dialogues\n"
        "from chatdoctor_hub.errors import DataError\n"
        "whole = Path(sys.argv[1]).read_bytes()\n"
        "for at in range(int(sys.argv[2]), len(whole) - 8):\n"
        "    for bit in (1, 4):\n"
        "        bad = bytearray(whole)\n"
        "        bad[at] ^= bit\n"
        "        Path(sys.argv[1]).write_bytes(bad)\n"
        "        try:\n"
        "            read_dialogues(sys.argv[1])\n"
        "        except DataError:\n"
        "            pass\n"
        "print('alive')\n"
    )
    file.write_bytes(whole)
    start = str(len(whole) - 8 - length)
    found = subprocess.run(
        [sys.executable, "-c", code, str(file), start],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
    )
    assert (found.returncode, found.stdout) == (0, "alive\n"), found.stderr


def test_a_parquet_file_whose_rows_share_one_long_text_is_not_unfolded(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    file = tmp_path / "d.parquet"
    file.write_bytes(parquet_bomb(2000, unfolded=False))
    before = pa.total_allocated_bytes()
    stream = stream_dialogues(file)
    with bounded(seconds=20, megabytes=20):
        problems = list(itertools.islice(stream, 1000))
        assert pa.total_allocated_bytes() - before < 200 * 1024 * 1024
    assert len(problems) == 1000
    with pytest.raises(DataFormatError, match="found none in 1000 record"):
        next(stream)


def test_deep_and_numerous_values(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    lines = [
        "[" * 500_000,
        '{"a":' * 200_000,
        "9" * 1_000_000,
        f'{{"id": {"9" * 4000}, {GOOD[1:]}',
        "-1e999999",
        GOOD,
    ]
    file.write_text("\n".join([GOOD, *lines]), encoding="utf-8")
    with bounded(seconds=10, megabytes=80):
        read = read_dialogues(file)
    assert [item.id for item in read] == ["1", "record-5", "7"]
    assert [problem.line for problem in read.problems] == [2, 3, 4, 6]


def test_what_no_speaker_said_does_not_stop_a_reader(tmp_path: Path) -> None:
    words = [
        "<p>It <b>hurts</b></p>",
        "a\u202eb\u200b",
        "a\x00b",
        "\x1b[31mred",
        "\ud800lone",
        "\ufeffmark",
        "\u2028",
    ]
    file = tmp_path / "d.jsonl"
    file.write_text(
        "\n".join(json.dumps({"input": f"x {text} y", "output": text + " z"}) for text in words),
        encoding="utf-8",
    )
    read = read_dialogues(file, strict=True)
    assert len(read) == len(words)
    for item in read:
        json.dumps(item.to_messages(), ensure_ascii=False).encode()


SEEDS = [
    f"[{GOOD},{GOOD}]".encode(),
    f"{GOOD}\n{GOOD}".encode(),
    b'{"1": {"self_report": "a", "dialogue": []}, "2": {}}',
    b'input,output\n"a ""b""",c\n1,2\n',
    b"input\toutput\na\tb\n",
    b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}',
    b'[["patient: a", "doctor: b"], [{"id": "Patients", "Sentence": "x"}]]',
    '{"input": "病人：a\\\\n医生：", "target": "b"}'.encode(),
    gzip.compress(f"{GOOD}\n".encode() * 3),
]
SPLICE = st.tuples(
    st.integers(0, 200),
    st.integers(0, 12),
    st.binary(max_size=6) | st.sampled_from([b'"', b"\xff", b"[", b"\n"]),
)


@settings(max_examples=250)
@given(st.sampled_from(SEEDS), st.lists(SPLICE, max_size=4))
def test_damaged_files_give_dialogues_problems_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, splices: list[tuple[int, int, bytes]]
) -> None:
    content = seed
    for at, length, new in splices:
        content = content[:at] + new + content[at + length :]
    file = tmp_path_factory.getbasetemp() / "damaged"
    file.write_bytes(content)
    try:
        items = list(stream_dialogues(file))
    except DataError as error:
        items = []
        said = str(error)
    else:
        said = "Expected nothing else."
    assert said.startswith("Expected ")
    assert "\n" not in said
    for item in items:
        assert isinstance(item, (Dialogue, RecordProblem))
        if isinstance(item, RecordProblem):
            assert (item.record >= 1, bool(item.reason), item.file) == (True, True, "damaged")
