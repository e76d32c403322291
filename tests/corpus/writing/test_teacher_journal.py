from __future__ import annotations

import errno
import os

import pytest

from chatdoctor_hub.corpus.writing.teaching.journal import Journal
from chatdoctor_hub.errors import DataError, DataFormatError, DiskSpaceError


def test_records_come_back_in_their_order(tmp_path):
    path = tmp_path / "deep" / "j.jsonl"
    with Journal(path) as journal:
        journal.add("a", {"reply": {"x": "é\ud800"}})
        journal.add("b", {"reply": None})
        journal.add("a", {"reply": 2})
        digest = journal.digest(["a", "b"])
    with Journal(path) as again:
        assert [record["reply"] for record in again.of("a")] == [{"x": "é\ud800"}, 2]
        assert again.of("c") == []
        assert again.digest(["b", "a", "a"]) == digest
        assert again.digest(["a"]) != digest
    assert path.stat().st_mode & 0o077 == 0, "for nobody else to read"


def test_the_digest_does_not_depend_on_the_order_of_tasks():
    one, two = Journal(), Journal()
    for journal, keys in ((one, "ab"), (two, "ba")):
        for key in keys:
            journal.add(key, {"reply": key})
    assert one.digest("ab") == two.digest("ab")


@pytest.mark.parametrize("torn", [b'{"key": "b", "rep', b"{", b'{"key": "b", "reply": 1}', b"\xff\x00"])
def test_a_torn_last_line_is_cut_off(tmp_path, torn):
    path = tmp_path / "j"
    with Journal(path) as journal:
        journal.add("a", {"reply": 1})
    whole = path.read_bytes()
    path.write_bytes(whole + torn)
    with Journal(path) as journal:
        assert journal.of("b") == []
        journal.add("c", {"reply": 3})
    with Journal(path) as journal:
        assert [len(journal.of(key)) for key in "abc"] == [1, 0, 1]


@pytest.mark.parametrize(
    "line", [b"[]", b'{"key": 1, "reply": 2}', b"patient: hello", b"", b'{"messages": []}']
)
def test_a_file_of_something_else_is_refused_and_not_changed(tmp_path, line):
    path = tmp_path / "j"
    content = b'{"key": "a", "reply": 1}\n' + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(DataFormatError, match=r"Expected line 2 of .*j to be a record"):
        Journal(path)
    assert path.read_bytes() == content


def test_every_line_is_on_the_disk_before_the_next_call(tmp_path, monkeypatch):
    synced = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_size) or real(handle))
    with Journal(tmp_path / "j") as journal:
        journal.add("a", {"reply": 1})
        journal.add("b", {"reply": 1})
    assert len(synced) == 2
    assert synced[0] < synced[1]


def test_a_full_disk(tmp_path, monkeypatch):
    def full(handle, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    with Journal(tmp_path / "j") as journal:
        monkeypatch.setattr(os, "write", full)
        with pytest.raises(DiskSpaceError, match="the disk full"):
            journal.add("a", {"reply": 1})


def test_a_place_that_cannot_be_written(tmp_path):
    with pytest.raises(DataError, match="Expected to write the journal"):
        Journal(tmp_path)
    with pytest.raises(DataError, match="Expected to write the journal"):
        Journal("a\0b")
