from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import random
import re
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.errors import ConfigError, DataError, DataFormatError, DataNotFoundError
from chatdoctor_hub.folders import left_aside
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.searching import index_file, ranking
from chatdoctor_hub.knowledge.searching.index import DiseaseIndex

STARTER = DiseaseTable.starter()
ASKED = (
    "burning when I pee and I keep running to the toilet",
    "my tummy aches and I have been throwing up",
    "I get a tight chest and wheeze at night, no fever",
    "gout",
    "fever and cough and a headache",
    "nothing that anyone knows",
    "",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("index") / "starter.index"
    DiseaseIndex.build(STARTER, path).close()
    return path


def many(rows: int, seed: int = 0, names: int = 0) -> DiseaseTable:
    """A table of `rows` rows, their symptoms drawn from those of the starter table."""
    draw = random.Random(seed)
    symptoms = [symptom for disease in STARTER for symptom in disease.symptoms]
    return DiseaseTable(
        tuple(
            Disease(
                f"{STARTER[n % len(STARTER)].name} kind {n % (names or rows)}",
                tuple(dict.fromkeys(draw.choices(symptoms, k=6))),
                cause=draw.choice(STARTER).cause,
                line=n + 2,
            )
            for n in range(rows)
        ),
        source="many.csv",
    )


def test_the_index_finds_what_the_table_finds(built: Path) -> None:
    with DiseaseIndex.open(built) as index:
        assert len(index) == len(STARTER)
        assert index.digest == STARTER.digest
        assert index.source == "starter"
        for text in ASKED:
            assert index.search(text, k=4) == STARTER.search(text, 4)
        assert len(index.search(ASKED[1])) == 5
        assert repr(index) == f"<DiseaseIndex {str(built)!r}: 144 diseases of 'starter'>"


def test_a_hit_names_its_row(built: Path) -> None:
    with DiseaseIndex.open(built) as index:
        (hit,) = index.search("gout", 1)
    row = [disease.name for disease in STARTER].index("Gout")
    assert hit.disease == STARTER[row]
    assert hit.id == str(row + 1)
    assert hit.source == f"starter line {STARTER[row].line}"
    assert hit.matched == ("Gout",)
    assert DiseaseTable((Disease("Oddpox", ("Spots",)),)).search("spots")[0].source == "table row 1"


@pytest.mark.parametrize("names", [0, 50])
def test_a_large_table_is_ranked_as_if_all_of_it_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: int
) -> None:
    table = many(4_000, names=names)
    draw = random.Random(1)
    texts = [", ".join(draw.choices(table, k=1)[0].symptoms[: draw.randint(1, 5)]) for _ in range(25)]
    with DiseaseIndex.build(table, tmp_path / "many.index") as index:
        monkeypatch.setattr(ranking, "_MANY", 0)  # bounds
        found = [index.search(text, 7) for text in texts]
        monkeypatch.setattr(ranking, "_MANY", 1 << 60)  # everything
        assert found == [index.search(text, 7) for text in texts]
    assert all(len(hits) == 7 for hits in found)


TEXTS = st.lists(st.text(max_size=12), max_size=4).map(tuple)
TABLES = st.lists(
    st.builds(Disease, st.text(min_size=1, max_size=12), TEXTS, TEXTS, cause=st.text(max_size=20)),
    min_size=1,
    max_size=6,
).map(lambda rows: DiseaseTable(tuple(rows)))


@settings(max_examples=40, deadline=None)
@given(TABLES, st.text(max_size=30))
def test_any_table_is_written_and_found_again(
    tmp_path_factory: pytest.TempPathFactory, table: DiseaseTable, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.index"
    with DiseaseIndex.build(table, path) as index:
        for asked in (text, *(name for disease in table for name in (disease.name, *disease.symptoms))):
            assert index.search(asked, 3) == table.search(asked, 3)
    with DiseaseIndex.open(path) as index:
        assert index.digest == table.digest


def test_every_field_survives_but_the_raw_cells(tmp_path: Path) -> None:
    disease = dataclasses.replace(
        STARTER[0], doid="DOID:1", source="lone \ud800 half", line=7, raw={"disease": "x"}
    )
    with DiseaseIndex.build([disease], tmp_path / "one.index") as index:
        (hit,) = index.search(disease.name)
    assert hit.disease == disease
    assert hit.disease.raw == {}


def test_a_table_without_rows_is_refused_and_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataFormatError, match="at least one disease"):
        DiseaseIndex.build([], tmp_path / "none.index")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataFormatError, match="found a folder; choose another name"):
        DiseaseIndex.build(STARTER, tmp_path)


def test_a_build_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.index"
    DiseaseIndex.build(STARTER, path).close()
    before = path.read_bytes()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(index_file, "array_bytes", interrupted)
    with pytest.raises(KeyboardInterrupt):
        DiseaseIndex.build(STARTER[:3], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    assert left_aside(path, "new") == []


def test_a_rebuild_leaves_the_old_file_to_those_who_read_it(tmp_path: Path) -> None:
    path = tmp_path / "a.index"
    old = DiseaseIndex.build(STARTER, path)
    new = DiseaseIndex.build([Disease("Oddpox", ("Cough",))], path)
    assert old.search("fever and cough", 3) == STARTER.search("fever and cough", 3)
    assert [hit.disease.name for hit in new.search("cough")] == ["Oddpox"]
    old.close()
    new.close()


def test_the_same_table_gives_the_same_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        DiseaseIndex.build(STARTER, tmp_path / name).close()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_many_threads_ask_one_index(tmp_path: Path) -> None:
    table = many(800)
    texts = [" and ".join(disease.symptoms[:3]) for disease in table[:60]]
    expected = [table.search(text, 3) for text in texts]
    with DiseaseIndex.build(table, tmp_path / "many.index") as index, ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            assert list(pool.map(lambda text: index.search(text, 3), texts)) == expected


def _ask(path: str, text: str, out: multiprocessing.SimpleQueue[list[str]]) -> None:
    with DiseaseIndex.open(path) as index:
        out.put([hit.disease.name for hit in index.search(text)])


def test_other_processes_read_the_file_while_it_is_open(built: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    out = spawn.SimpleQueue()
    with DiseaseIndex.open(built) as index:
        process = spawn.Process(target=_ask, args=(str(built), ASKED[0], out))
        process.start()
        found = out.get()
        process.join(30)
        assert found == [hit.disease.name for hit in index.search(ASKED[0])]
        copy = pickle.loads(pickle.dumps(index))
        assert copy.search(ASKED[0]) == index.search(ASKED[0])
        copy.close()


def test_what_is_kept_in_memory_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatdoctor_hub.knowledge.searching.index._HELD_POSTINGS", 500)
    monkeypatch.setattr("chatdoctor_hub.knowledge.searching.index._HELD_TERMS", 40)
    monkeypatch.setattr("chatdoctor_hub.knowledge.searching.index._HELD_ROWS", 2)
    table = many(400)
    with DiseaseIndex.build(table, tmp_path / "many.index") as index:
        for disease in table[:40]:
            text = " and ".join(disease.symptoms)
            assert index.search(text, 3) == table.search(text, 3)
        held = index._postings._held
        assert len(held) <= 40
        assert sum(size for _, size in list(held.values())[:-1]) <= 500
        assert len(index._rows._held) <= 2


def test_a_closed_index_says_so(built: Path) -> None:
    index = DiseaseIndex.open(built)
    index.close()
    index.close()
    with pytest.raises(DataError, match="to be open, found it closed"):
        index.search("gout")


def test_k_below_one_is_refused(built: Path) -> None:
    with DiseaseIndex.open(built) as index, pytest.raises(ConfigError, match="at least 1, found 0"):
        index.search("gout", 0)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError, match=r"Expected a disease index at .*gone.index, found none"):
        DiseaseIndex.open(tmp_path / "gone.index")
    with pytest.raises(DataNotFoundError, match="Is a directory"):
        DiseaseIndex.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"disease,Symptom\n", b"SQLite format 3\0", b"\0" * 4096])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.index"
    path.write_bytes(content)
    for verify in (True, False):
        with pytest.raises(
            DataFormatError, match=re.escape(f"{path} to be a disease index, found a file of")
        ):
            DiseaseIndex.open(path, verify=verify)


def test_another_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.index"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (key, value)")
    connection.close()
    with pytest.raises(DataFormatError, match="found a file of another kind"):
        DiseaseIndex.open(path)


def test_another_version_is_refused(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "later.index"
    monkeypatch.setattr(index_file, "VERSION", 9)
    DiseaseIndex.build(STARTER[:2], path).close()
    monkeypatch.undo()
    with pytest.raises(DataFormatError, match=r"in version 1 of its layout, found version 9; build it again"):
        DiseaseIndex.open(path)


@pytest.mark.parametrize("where", [19, 70, 100, 5_000, -5_000, -1])
def test_one_changed_byte_is_found_when_it_is_opened(built: Path, tmp_path: Path, where: int) -> None:
    path = tmp_path / "hurt.index"
    content = bytearray(built.read_bytes())
    content[where] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match="found it damaged; build it again"):
        DiseaseIndex.open(path)


@pytest.mark.parametrize("keep", [101, 4_096, 20_000])
def test_a_file_that_was_cut_off_is_refused(built: Path, tmp_path: Path, keep: int) -> None:
    path = tmp_path / "cut.index"
    path.write_bytes(built.read_bytes()[:keep])
    with pytest.raises(DataFormatError, match="found it damaged"):
        DiseaseIndex.open(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1 << 30), st.binary(min_size=1, max_size=64))
def test_any_damage_is_found_when_it_is_opened(
    built: Path, tmp_path_factory: pytest.TempPathFactory, where: int, rubbish: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "hurt.index"
    content = bytearray(built.read_bytes())
    at = where % (len(content) - len(rubbish))
    content[at : at + len(rubbish)] = rubbish
    path.write_bytes(content)
    if content == built.read_bytes():
        DiseaseIndex.open(path).close()
        return
    with pytest.raises(DataFormatError, match=r"^Expected "):
        DiseaseIndex.open(path)


def test_a_file_without_write_permission_and_with_an_odd_name_is_read(built: Path, tmp_path: Path) -> None:
    path = tmp_path / "odd ?#%41 n\u00e4me.index"
    path.write_bytes(built.read_bytes())
    path.chmod(0o444)
    with DiseaseIndex.open(path) as index:
        assert index.search("gout", 1) == STARTER.search("gout", 1)
    assert sorted(tmp_path.iterdir()) == [path]  # no journal beside it


def test_opening_and_closing_leaves_no_descriptor(built: Path) -> None:
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("the system does not list open files under /proc: nothing to count")
    before = len(os.listdir(folder))  # noqa: PTH208
    for _ in range(20):
        DiseaseIndex.open(built).close()
    assert len(os.listdir(folder)) == before  # noqa: PTH208


def test_closing_while_others_ask_is_no_crash(tmp_path: Path) -> None:
    index = DiseaseIndex.build(many(300), tmp_path / "many.index")
    errors: list[BaseException] = []

    def ask() -> None:
        try:
            for number in range(10_000):
                index.search(f"fever cough {number} pain {STARTER[number % 144].name}")
        except DataError as error:
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    index.close()
    for thread in threads:
        thread.join(30)
    assert len(errors) == 3
