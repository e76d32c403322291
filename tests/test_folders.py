"""What is written whole or not at all: interrupted, killed, out of room, and all at once."""

# ruff: noqa: PT012 - the block that is tested is the one that raises
from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from chatdoctor_hub.errors import DataError, DataFormatError, DataNotFoundError, DiskSpaceError
from chatdoctor_hub.folders import left_aside, replacing_file, replacing_folder

needs_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the device /dev/full of Linux")


def fill(folder: Path, text: str) -> None:
    with replacing_folder(folder) as new:
        (new / "a.txt").write_text(text)
        (new / "sub").mkdir()
        (new / "sub" / "b.txt").write_text(text)


def state(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with replacing_folder(str(out)) as new:
        assert not out.exists()
        assert new.parent == out.parent
        (new / "a.txt").write_text("one")
    assert state(out) == {"a.txt": "one"}
    with replacing_folder(out) as new:
        assert state(out) == {"a.txt": "one"}
        assert list(new.iterdir()) == []
        (new / "b.txt").write_text("two")
    assert state(out) == {"b.txt": "two"}
    assert names(out.parent) == ["out"]


def test_a_file_takes_its_place_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "loss.png"
    for text in ("one", "two"):
        with replacing_file(out) as new:
            assert new.name == "loss.png"  # what writes by the ending of the name still can
            new.write_text(text)
        assert out.read_text() == text
        assert names(out.parent) == ["loss.png"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), RuntimeError("no"), SystemExit(1)])
def test_what_is_interrupted_leaves_all_as_it_was(tmp_path: Path, fault: BaseException) -> None:
    out, file = tmp_path / "out", tmp_path / "file.txt"
    for older in (False, True):
        with pytest.raises(type(fault)), replacing_folder(out) as new:
            (new / "a.txt").write_text("half")
            raise fault
        with pytest.raises(type(fault)), replacing_file(file) as path:
            path.write_text("half")
            raise fault
        assert names(tmp_path) == (["file.txt", "out"] if older else [])
        assert not older or (file.read_text(), state(out)) == ("one", {"a.txt": "one", "sub/b.txt": "one"})
        fill(out, "one")
        with replacing_file(file) as path:
            path.write_text("one")


@pytest.mark.parametrize("at", [1, 2])
def test_an_interruption_between_the_renames_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    fill(tmp_path / "out", "one")
    real, calls = Path.rename, []

    def rename(path: Path, target: Path) -> Path:
        calls.append(path)
        if len(calls) == at:
            raise KeyboardInterrupt
        return real(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path / "out", "two")
    assert state(tmp_path / "out")["a.txt"] == "one"
    assert names(tmp_path) == ["out"]


def start(code: str, *args: Path) -> subprocess.Popen[str]:
    """A process that has said "ready" and now waits within its block."""
    head = "import sys, time\nfrom pathlib import Path\nfrom chatdoctor_hub.folders import *\n"
    process = subprocess.Popen(
        [sys.executable, "-c", head + textwrap.dedent(code), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


IN_THE_BLOCK = """
    with replacing_folder(sys.argv[1]) as new, replacing_file(sys.argv[2]) as path:
        (new / "big.bin").write_bytes(bytes(1000))
        path.write_text("half")
        print("ready", flush=True)
        time.sleep(60)
"""
BETWEEN_THE_RENAMES = """
    real, calls = Path.rename, []
    def rename(path, target):
        calls.append(path)
        if len(calls) == 2:
            print("ready", flush=True)
            time.sleep(60)
        return real(path, target)
    Path.rename = rename
    with replacing_folder(sys.argv[1]) as new:
        (new / "a.txt").write_text("new")
"""


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_leaves_the_old_and_the_next_one_cleans_up(tmp_path: Path, stop: int) -> None:
    out, file = tmp_path / "out", tmp_path / "file.txt"
    fill(out, "one")
    file.write_text("one")
    process = start(IN_THE_BLOCK, out, file)
    assert len(names(tmp_path)) == 4
    process.send_signal(stop)
    process.communicate()
    assert (state(out)["a.txt"], file.read_text()) == ("one", "one")
    left = [name for name in names(tmp_path) if name.startswith(".")]
    assert len(left) == (2 if stop == signal.SIGKILL else 0)
    fill(out, "two")
    with replacing_file(file) as path:
        path.write_text("two")
    assert names(tmp_path) == ["file.txt", "out"]
    assert (state(out)["a.txt"], file.read_text()) == ("two", "two")


def test_a_process_killed_between_the_renames_loses_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "one")
    process = start(BETWEEN_THE_RENAMES, out)
    assert not out.exists()
    assert [state(old)["a.txt"] for old in left_aside(out)] == ["one"]
    process.kill()
    process.communicate()
    with pytest.raises(RuntimeError), replacing_folder(out):
        assert state(out)["a.txt"] == "one"  # put back, though this write fails as well
        raise RuntimeError
    assert state(out)["a.txt"] == "one"
    assert names(tmp_path) == ["out"]


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "file.txt"
    process = start(IN_THE_BLOCK, out, file)
    living = names(tmp_path)
    fill(out, "mine")
    assert names(tmp_path) == sorted([*living, "out"])
    process.kill()
    process.communicate()
    fill(out, "mine")
    assert [name for name in names(tmp_path) if ".out." in name] == []


def test_names_that_only_look_alike_are_left_alone(tmp_path: Path) -> None:
    others = [
        ".out.0123abcd.new.txt",
        ".out.0123abcd",
        ".out.xyz.old",
        "out.0123abcd.new",
        ".outer.0123abcd.new",
    ]
    for name in others:
        (tmp_path / name).mkdir()
    fill(tmp_path / "out", "one")
    assert names(tmp_path) == sorted([*others, "out"])


def test_many_writers_of_one_folder_leave_one_whole_folder(tmp_path: Path) -> None:
    out, faults = tmp_path / "out", []

    def write(number: int) -> None:
        try:
            for turn in range(10):
                fill(out, f"{number} {turn}")
        except BaseException as error:  # noqa: BLE001 - an assertion in a thread would be lost
            faults.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert names(tmp_path) == ["out"]
    assert len(set(state(out).values())) == 1


def write_text(path: Path) -> None:
    path.write_text("words")


def save_tokenizer(path: Path) -> None:
    pytest.importorskip("tokenizers").Tokenizer(pytest.importorskip("tokenizers").models.BPE()).save(
        str(path)
    )


def write_parquet(path: Path) -> None:
    pytest.importorskip("pyarrow.parquet").write_table(pytest.importorskip("pyarrow").table({"a": [1]}), path)


def copy_tree(path: Path) -> None:
    """An error for many files has no errno of its own."""
    source = path.with_name("source")
    source.mkdir()
    (source / "a.txt").write_text("words")
    target = path.with_name("target")
    target.mkdir()
    (target / "a.txt").symlink_to("/dev/full")
    shutil.copytree(source, target, dirs_exist_ok=True)


@needs_full
@pytest.mark.parametrize("write", [write_text, save_tokenizer, write_parquet, copy_tree])
def test_a_full_disk_is_told_in_one_sentence(tmp_path: Path, write: Callable[[Path], object]) -> None:
    out = tmp_path / "out"
    fill(out, "one")
    with pytest.raises(DiskSpaceError, match="found the disk full") as caught, replacing_folder(out) as new:
        (new / "full").symlink_to("/dev/full")  # a real device that has no room
        write(new / "full")
    assert str(out) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert state(out)["a.txt"] == "one"
    with (
        pytest.raises(DiskSpaceError, match=r"the file '.*out\.json'"),
        replacing_file(tmp_path / "out.json") as path,
    ):
        path.symlink_to("/dev/full")
        path.write_text("words")
    assert names(tmp_path) == ["out"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_no_room_even_for_the_folder_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def mkdir(*args: object, **kwargs: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with pytest.raises(DiskSpaceError), replacing_folder(tmp_path / "out"):
        pytest.fail("the block must not run")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "out", tmp_path / ("x" * 300), "/", "a\0b"):
        for replacing in (replacing_folder, replacing_file):
            with (
                pytest.raises(DataError, match=r"^Expected .* choose a") as caught,
                replacing(place, what="plan"),
            ):
                pytest.fail("the block must not run")
            assert "plan" in str(caught.value)
            assert "\n" not in str(caught.value)


def test_errors_of_another_making_pass_through(tmp_path: Path) -> None:
    faults: list[Exception] = [
        FileNotFoundError(errno.ENOENT, "No such file or directory", str(tmp_path / "input.json")),
        ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"),
        DataNotFoundError("no such thing"),
        ValueError("other"),
    ]
    for fault in faults:
        with pytest.raises(type(fault)) as caught, replacing_folder(tmp_path / "out"):
            raise fault
        assert caught.value is fault
    assert names(tmp_path) == []


def test_a_fault_of_the_disk_within_the_block_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found: Input/output error"), replacing_folder(tmp_path / "out"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    with pytest.raises(DataError, match="found: Is a directory"), replacing_folder(tmp_path / "out") as new:
        new.write_text("words")


def test_only_its_own_kind_is_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for _ in range(2):
        with replacing_folder(out, what="plan", marker="plan.json") as new:
            (new / "plan.json").write_text("{}")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "a.tex").write_text("years of work")
    (tmp_path / "empty").mkdir()
    with (
        pytest.raises(DataFormatError, match="absent, empty or an older plan, found a folder of other files"),
        replacing_folder(tmp_path / "thesis", what="plan", marker="plan.json"),
    ):
        pytest.fail("the block must not run")
    with (
        pytest.raises(DataFormatError, match="found a file"),
        replacing_folder(tmp_path / "thesis" / "a.tex"),
    ):
        pytest.fail("the block must not run")
    with pytest.raises(DataFormatError, match="found a folder"), replacing_file(tmp_path / "thesis"):
        pytest.fail("the block must not run")
    with replacing_folder(tmp_path / "empty", marker="plan.json") as new:
        (new / "plan.json").write_text("{}")
    assert names(tmp_path) == ["empty", "out", "thesis"]
    assert state(tmp_path / "thesis") == {"a.tex": "years of work"}


def test_other_entries_are_carried_over(tmp_path: Path) -> None:
    out = tmp_path / "out"
    fill(out, "one")
    (out / "notes").mkdir()
    (out / "notes" / "a.txt").write_text("mine")  # has a name of ours, but not at the top
    (out / "link").symlink_to("nowhere")
    with replacing_folder(out, own={"a.txt", "sub"}) as new:
        (new / "a.txt").write_text("two")
    assert state(out) == {"a.txt": "two", "notes/a.txt": "mine"}
    assert (out / "link").is_symlink()
    assert names(tmp_path) == ["out"]


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real", target_is_directory=True)
    fill(tmp_path / "link", "one")
    (tmp_path / "file").symlink_to("real.txt")
    with replacing_file(tmp_path / "file") as path:
        path.write_text("one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").is_symlink()
    assert (state(tmp_path / "real")["a.txt"], (tmp_path / "real.txt").read_text()) == ("one", "one")


def test_a_folder_may_be_written_in_pieces(tmp_path: Path) -> None:
    """What one thread writes inside the folder it is writing need not wait for itself."""
    out = tmp_path / "run"

    def write() -> None:
        with replacing_folder(out) as new:
            fill(new / "model", "one")
            with replacing_file(new / "model" / "a.txt") as file:
                file.write_text("two")

    # A process of its own could not be told from a slow one: a thread that waits for itself never ends.
    writing = threading.Thread(target=write, daemon=True)
    writing.start()
    writing.join(timeout=20)
    assert not writing.is_alive()
    assert state(out) == {"model/a.txt": "two", "model/sub/b.txt": "one"}
    assert names(tmp_path) == ["run"]
