"""`Shards`: a sequence like any other, whose dialogues stay in their files."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chatdoctor_hub.corpus import shards
from chatdoctor_hub.corpus.shards import (
    Shards,
    dialogues_in,
    file_digest,
    shard_name,
    table_of,
    write_parquet,
)
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError


def some(count: int) -> list[Dialogue]:
    return [
        Dialogue(
            (
                *([Turn("system", "Be kind.")] if number % 3 == 0 else []),
                Turn("patient", f"Ache {number}."),
                Turn("doctor", "Rest."),
            ),
            id=str(number),
            source="a.json",
        )
        for number in range(count)
    ]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, int]]:
    """Files of 30, 7 and 25 dialogues in row groups of 10."""
    monkeypatch.setattr(shards, "_ROW_GROUP", 10)
    items, found = some(62), []
    for number, (start, end) in enumerate([(0, 30), (30, 37), (37, 62)]):
        file = tmp_path / f"{number}.parquet"
        write_parquet(table_of(items[start:end]), file)
        found.append((file, end - start))
    return found


def test_it_is_the_sequence_that_was_written(files: list[tuple[Path, int]]) -> None:
    found, items = Shards(files), some(62)
    assert (len(found), list(found), list(reversed(found))) == (62, items, items[::-1])
    order = list(range(-62, 62))
    random.Random(0).shuffle(order)
    assert [found[number] for number in order] == [items[number] for number in order]
    for part in (
        slice(5, 45),
        slice(-3, None),
        slice(None, None, 7),
        slice(40, 2, -9),
        slice(9, 9),
        slice(70, 80),
    ):
        assert found[part] == tuple(items[part])
    assert found == items
    assert tuple(items) == found
    assert found != items[:-1]
    assert found != [*items[:-1], items[0]]
    assert items[31] in found
    assert found.index(items[31]) == 31
    assert repr(found) == "<62 dialogues in 3 file(s)>"
    for number in (62, -63):
        with pytest.raises(IndexError):
            _ = found[number]


def test_few_dialogues_are_held(files: list[tuple[Path, int]]) -> None:
    found = Shards(files)
    for _ in found:
        assert sum(table.num_rows for table in found._held.values()) <= 20


def test_an_empty_one() -> None:
    found = Shards([])
    assert (len(found), list(found), found[:]) == (0, [], ())
    assert not found


def test_another_size_of_row_groups_is_read_too(files: list[tuple[Path, int]], tmp_path: Path) -> None:
    file = tmp_path / "one.parquet"
    pq.write_table(table_of(some(62)), file, row_group_size=7)
    assert Shards([(file, 62)]) == some(62)
    assert Shards([(file, 62)])[30] == some(62)[30]


def test_the_footer_holds_no_words(files: list[tuple[Path, int]]) -> None:
    footer = pq.read_metadata(files[0][0])
    for group in range(footer.num_row_groups):
        for column in range(footer.num_columns):
            assert not footer.row_group(group).column(column).is_stats_set


def test_the_same_dialogues_give_the_same_bytes(files: list[tuple[Path, int]], tmp_path: Path) -> None:
    again = tmp_path / "again.parquet"
    write_parquet(table_of(some(30)), again)
    assert file_digest(again) == file_digest(files[0][0])


def test_a_file_that_went_away_or_is_another(files: list[tuple[Path, int]]) -> None:
    found = Shards(files)
    files[0][0].write_bytes(b"no parquet")
    with pytest.raises(DataFormatError, match=r"0\.parquet to be a Parquet file"):
        _ = found[0]
    files[0][0].unlink()
    with pytest.raises(DataNotFoundError, match=r"0\.parquet"):
        _ = found[0]
    with pytest.raises(DataNotFoundError, match="Expected a file of a corpus"):
        file_digest(files[0][0])


def test_rows_that_are_no_dialogues(tmp_path: Path) -> None:
    table = table_of(some(2))
    with pytest.raises(DataFormatError, match=r"x\.parquet"):
        list(dialogues_in(table.drop_columns(["topic"]), tmp_path / "x.parquet"))
    empty = table.set_column(3, "messages", table["messages"].take([0, None]))
    with pytest.raises(DataFormatError, match=r"x\.parquet"):
        list(dialogues_in(empty, tmp_path / "x.parquet"))


def test_names_sort_as_their_numbers() -> None:
    names = [shard_name("train", number, 12) for number in range(12)]
    assert names == sorted(names)
    assert names[10] == "data/train-00010-of-00012.parquet"
