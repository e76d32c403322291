"""`Corpus`: what is written is what is read, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus import Corpus, RecordProblem, Splits, read_dialogues, split
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataError, DataFormatError, DataNotFoundError, DiskSpaceError

SHARDS = {f"data/{name}-00000-of-00001.parquet" for name in ("train", "validation", "test")}
FILES = {"corpus.json", "README.md", "rejected.parquet", *SHARDS}


def splits_of(count: int = 20, say: str = "Rest.") -> Splits:
    return split(
        Dialogue(
            (Turn("patient", f"Ache {n}."), Turn("doctor", say)), id=str(n), source="a.json", topic="ache"
        )
        for n in range(count)
    )


def write(folder: Path, splits: Splits | None = None, **changes: Any) -> Corpus:
    record: dict[str, Any] = {"seed": 7, "sources": ["a.json"], "repairs": {}, "problems": ()} | changes
    return Corpus.write(folder, splits or splits_of(), **record)


def rewrite_record(folder: Path, **changes: Any) -> None:
    file = folder / "corpus.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), "utf-8")


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    splits = splits_of()
    written = write(
        tmp_path / "runs" / "corpus",
        splits,
        sources=["a.json", {"name": "starter", "n": 3}],
        repairs={"speaker_labels": 2},
        problems=[RecordProblem(3, 4, "no doctor turn"), RecordProblem(5, None, "no patient turn")],
        extra={"note": "né"},
    )
    opened = Corpus.open(str(tmp_path / "runs" / "corpus"))
    assert opened == written
    assert (opened.train, opened.validation, opened.test) == (splits.train, splits.validation, splits.test)
    assert opened.digest == splits.digest
    info = opened.info
    assert info["schema_version"] == 2
    assert info["seed"] == 7
    assert info["dialogues"] == {"train": 18, "validation": 1, "test": 1}
    assert info["turns"] == {"train": 36, "validation": 2, "test": 2}
    assert info["counts"] == {
        "read": 22,
        "kept": 20,
        "rejected": {"read": {"no doctor turn": 1, "no patient turn": 1}},
    }
    assert info["repairs"] == {"speaker_labels": 2}
    assert info["sources"] == [{"name": "a.json"}, {"name": "starter", "n": 3}]
    assert pq.read_table(opened.path / "rejected.parquet").to_pylist() == [
        {"source": "", "id": "", "record": 3, "line": 4, "step": "read", "reason": "no doctor turn", "other": ""},
        {"source": "", "id": "", "record": 5, "line": None, "step": "read", "reason": "no patient turn",
         "other": ""},
    ]  # fmt: skip
    assert info["extra"] == {"note": "né"}
    for name in FILES - {"corpus.json"}:
        data = (opened.path / name).read_bytes()
        recorded = dict(info["files"][name])
        rows = recorded.pop("rows", None)
        assert recorded == {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        assert (rows is None) == (name == "README.md")


def test_the_parquet_is_the_hubs_messages_format(tmp_path: Path) -> None:
    corpus = write(tmp_path / "corpus")
    table = pq.read_table(corpus.path / "data" / "train-00000-of-00001.parquet")
    assert table.column_names == ["id", "source", "topic", "messages"]
    message = table.schema.field("messages").type.value_type
    assert {field.name: str(field.type) for field in message} == {"role": "string", "content": "string"}
    rows = table.to_pylist()
    assert [row["messages"] for row in rows] == [item.to_messages() for item in corpus.train]
    assert (rows[0]["id"], rows[0]["source"], rows[0]["topic"]) == (corpus.train[0].id, "a.json", "ache")


def test_the_same_corpus_gives_the_same_bytes(tmp_path: Path) -> None:
    write(tmp_path / "one")
    write(tmp_path / "two")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_the_published_dialogues(shared_data: Path, tmp_path: Path) -> None:
    read = read_dialogues(shared_data / "chatdoctor" / "genmedgpt_4000.json")
    corpus = write(
        tmp_path / "corpus", split(read), sources=[read.source], repairs=read.repairs, problems=read.problems
    )
    assert corpus.info["dialogues"] == {"train": len(read) - 400, "validation": 200, "test": 200}
    assert corpus.info["counts"]["read"] == len(read) + len(read.problems)
    assert {item.digest for item in (*corpus.train, *corpus.validation, *corpus.test)} == {
        item.digest for item in read
    }


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
TURNS = st.lists(st.builds(Turn, st.sampled_from(["patient", "doctor"]), WORDS), min_size=1, max_size=4)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
DIALOGUES = st.lists(
    st.builds(Dialogue, TURNS.map(tuple), id=NAMES, source=NAMES, topic=NAMES), min_size=1, max_size=8
)


@settings(deadline=None, max_examples=30)
@given(DIALOGUES)
def test_any_words_round_trip(items: list[Dialogue]) -> None:
    splits = split(items, validation=0, test=0)
    with tempfile.TemporaryDirectory() as folder:
        corpus = write(Path(folder) / "corpus", splits)
        assert (corpus.train, corpus.validation, corpus.test) == (splits.train, (), ())
        corpus.verify()


def test_an_older_corpus_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    write(folder)
    (folder / "notes.txt").write_text("mine")
    (folder / "plots").mkdir()
    (folder / "plots" / "a.txt").write_text("mine too")
    corpus = write(folder, splits_of(30))
    assert len(corpus.train) == 26
    assert set(content(folder)) == {*FILES, "notes.txt", "plots/a.txt"}
    assert (folder / "plots" / "a.txt").read_text() == "mine too"
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_an_empty_folder_and_a_link_to_one_are_filled(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert set(content(tmp_path / "real")) == FILES


def test_nothing_else_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataFormatError, match="found a folder of other files; choose another folder"):
        write(tmp_path)
    with pytest.raises(DataFormatError, match="found a file; choose another folder"):
        write(tmp_path / "thesis.tex")
    assert content(tmp_path) == {"thesis.tex": b"years of work"}


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
@pytest.mark.parametrize("moment", ["write", "first rename", "second rename"])
@pytest.mark.parametrize("older", [False, True])
def test_an_interruption_leaves_all_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, older: bool, moment: str, fault: BaseException
) -> None:
    folder = tmp_path / "corpus"
    if older:
        write(folder)
    before = content(folder) if older else None
    calls = {"write": 0, "rename": 0}
    real_write, real_rename = pq.write_table, Path.rename

    def write_table(*arguments: Any, **options: Any) -> None:
        calls["write"] += 1
        if moment == "write" and calls["write"] == 3:
            raise fault
        real_write(*arguments, **options)

    def rename(path: Path, target: Path) -> Path:
        calls["rename"] += 1
        if (moment, calls["rename"]) in {("first rename", 1), ("second rename", 2)}:
            raise fault
        return real_rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", write_table)
        patch.setattr(Path, "rename", rename)
        if moment == "second rename" and not older:
            write(folder, splits_of(30))  # one rename is enough
            return
        with pytest.raises((KeyboardInterrupt, DiskSpaceError)):
            write(folder, splits_of(30))
    assert [path.name for path in tmp_path.iterdir()] == (["corpus"] if older else [])
    assert (content(folder) if older else None) == before
    assert len(write(folder, splits_of(30)).train) == 26


def test_a_killed_replacement_is_taken_up_again(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    write(folder)
    (folder / "notes.txt").write_text("mine")
    # As SIGKILL between the two renames leaves it.
    os.rename(folder, tmp_path / ".corpus.0123abcd.old")  # noqa: PTH104
    (tmp_path / ".corpus.0123abcd.new").mkdir()
    os.utime(tmp_path / ".corpus.0123abcd.new", (0, 0))
    with pytest.raises(DataNotFoundError, match=r"rename .*\.corpus\.0123abcd\.old back"):
        Corpus.open(folder)
    write(folder)
    assert (folder / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="Expected to write the corpus") as caught:
        write(tmp_path / "file" / "corpus")
    assert "\n" not in str(caught.value)


def test_what_cannot_be_stored(tmp_path: Path) -> None:
    lone = Dialogue((Turn("patient", "secret \ud83d"), Turn("doctor", "Rest.")))
    with pytest.raises(DataFormatError, match="text that UTF-8 can hold") as caught:
        write(tmp_path / "corpus", Splits((lone,), (), ()))
    assert "secret" not in str(caught.value)
    with pytest.raises(DataFormatError, match="values that JSON can hold"):
        write(tmp_path / "corpus", extra={"when": object()})
    with pytest.raises(DataFormatError, match="values that JSON can hold"):
        write(tmp_path / "corpus", extra={"score": float("nan")})
    same = splits_of().train
    with pytest.raises(DataFormatError, match="more than one split"):
        write(tmp_path / "corpus", Splits(same, same[:1], ()))
    with pytest.raises(DataFormatError, match="training split, found none"):
        write(tmp_path / "corpus", Splits((), (), ()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", sorted(SHARDS | {"rejected.parquet"}))
@pytest.mark.parametrize("damage", ["flipped", "truncated", "swapped", "missing"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str, damage: str) -> None:
    folder = write(tmp_path / "corpus").path
    file = folder / name
    data = file.read_bytes()
    if damage == "missing":
        file.unlink()
        with pytest.raises(DataNotFoundError) as missing:
            Corpus.open(folder)
        assert str(file) in str(missing.value)
        with pytest.raises(DataError):
            Corpus.open(folder, verify=False)
        return
    other = folder / (set(SHARDS) - {name}).pop()
    changed = {
        "flipped": data[:60] + bytes([data[60] ^ 1]) + data[61:],
        "truncated": data[:-10],
        "swapped": other.read_bytes(),
    }
    file.write_bytes(changed[damage])
    with pytest.raises(DataFormatError, match="sha256") as caught:
        Corpus.open(folder)
    assert str(file) in str(caught.value)
    assert str(other) not in str(caught.value)


TRAIN = "data/train-00000-of-00001.parquet"


def test_a_file_that_is_no_parquet_is_found_out_though_its_digest_is_forged_too(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus").path
    forge(folder, TRAIN, b"no parquet")
    with pytest.raises(DataFormatError, match=r"train-00000.* to be a Parquet file with the rows"):
        Corpus.open(folder)


def test_a_file_with_other_columns_is_found_out_when_it_is_read(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus").path
    pq.write_table(pa.table({"x": list(range(18))}), tmp_path / "other.parquet")
    forge(folder, TRAIN, (tmp_path / "other.parquet").read_bytes())
    corpus = Corpus.open(folder)
    with pytest.raises(DataFormatError, match=r"train-00000.* with the columns id, source"):
        _ = corpus.train[0]


def test_other_dialogues_are_found_out_by_verify(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus").path
    forge(folder, TRAIN, (write(tmp_path / "other", splits_of(say="Bleed.")).path / TRAIN).read_bytes())
    with pytest.raises(DataFormatError, match=r"corpus\.json to have the counts and the digest"):
        Corpus.open(folder).verify()


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and its entry in the record."""
    (folder / name).write_bytes(data)
    files = json.loads((folder / "corpus.json").read_text("utf-8"))["files"]
    files[name] |= {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
    rewrite_record(folder, files=files)


def test_without_verification_only_sizes_count(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus").path
    data = bytearray((folder / TRAIN).read_bytes())
    data[60] ^= 1
    (folder / TRAIN).write_bytes(bytes(data))
    assert len(Corpus.open(folder, verify=False).train) == 18
    (folder / TRAIN).write_bytes(bytes(data[:-1]))
    with pytest.raises(DataFormatError, match="size and the sha256"):
        Corpus.open(folder, verify=False)


def test_the_card_may_be_edited(tmp_path: Path) -> None:
    corpus = write(tmp_path / "corpus")
    (corpus.path / "README.md").write_text("# Mine")
    assert Corpus.open(corpus.path) == corpus


def test_a_corpus_of_the_first_version_asks_for_another_build(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "train.parquet").write_bytes(b"old")
    (folder / "corpus.json").write_text('{"schema_version": 1, "digest": "", "dialogues": {}, "files": {}}')
    with pytest.raises(DataFormatError, match=r"found 1, of an older chatdoctor-hub; make the corpus again"):
        Corpus.open(folder)
    write(folder)
    assert set(content(folder)) == FILES


@pytest.mark.parametrize(
    ("record", "found"),
    [
        (b"", "found another content"),
        (b"\xff\xfe", "found another content"),
        (b"[" * 100_000, "found another content"),
        (b"[]", "found another content"),
        (b"{}", "found another content"),
        (b'{"schema_version": 2}', "found another content"),
        (b'{"schema_version": 2, "digest": "", "dialogues": {}, "files": []}', "found another content"),
        (
            b'{"schema_version": 2, "digest": "", "dialogues": {"train": 1}, "files": {}}',
            "found another content",
        ),
        (
            b'{"schema_version": 2, "digest": "", "dialogues": {"train": 1, "validation": 0, "test": 0}, "files": {}}',
            "counts of the dialogues",
        ),
        (
            b'{"schema_version": 2, "digest": "", "dialogues": {"train": 1, "validation": 0, "test": 0}, '
            b'"files": {"../../data/train-00000-of-00001.parquet": {}}}',
            "found another name",
        ),
        (b'{"schema_version": 3}', "found 3, of a newer"),
    ],
)
def test_a_damaged_record_is_named(tmp_path: Path, record: bytes, found: str) -> None:
    folder = write(tmp_path / "corpus").path
    (folder / "corpus.json").write_bytes(record)
    with pytest.raises(DataFormatError, match=found):
        Corpus.open(folder)


def test_a_record_of_other_dialogues_is_found_out(tmp_path: Path) -> None:
    folder = write(tmp_path / "corpus").path
    rewrite_record(folder, dialogues={"train": 18, "validation": 1, "test": 2})
    with pytest.raises(DataFormatError, match=r"corpus\.json to have the counts"):
        Corpus.open(folder)
    rewrite_record(folder, dialogues={"train": 18, "validation": 1, "test": 1}, digest="0" * 64)
    with pytest.raises(DataFormatError, match=r"corpus\.json to have the counts and the digest"):
        Corpus.open(folder).verify()


def test_a_folder_that_is_no_corpus(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none", "a\x00b"):
        with pytest.raises(DataNotFoundError, match=r"Expected a corpus folder with corpus\.json in it"):
            Corpus.open(folder)
