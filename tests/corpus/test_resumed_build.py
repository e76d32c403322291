"""A build that was killed at any moment goes on where it was, and ends with the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from raw_dialogues import faulty, write_lines

from chatdoctor_hub.corpus import Corpus
from chatdoctor_hub.corpus.building.build import build_corpus
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.building.parts import PartMaker
from chatdoctor_hub.corpus.building.workplace import workplace
from chatdoctor_hub.errors import DataError

# Builds in parts of 32 records, and is killed, or interrupted, at the n-th call of a function.
CHILD = """
import os, signal, sys
from chatdoctor_hub.corpus import folder, shards
from chatdoctor_hub.corpus.building import build, config, decision, layout, parts, workplace
build.PART_SIZE = 32
source, out, module, name, calls, sign = sys.argv[1:]
home = {"PartMaker": parts.PartMaker, "Layout": layout.Layout}.get(module) or globals()[module]
real, left = getattr(home, name), [int(calls)]

def deadly(*arguments, **options):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), getattr(signal, sign))
    return real(*arguments, **options)

setattr(home, name, deadly)
build.build_corpus(config.CorpusConfig(sources=[source], out=out, licence="MIT", deidentify=False, shard_size=40))
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_lines(tmp_path_factory.mktemp("raw") / "raw.jsonl", faulty(300))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, source: Path) -> dict[str, bytes]:
    return content(build_corpus(settings(source, tmp_path_factory.mktemp("whole") / "corpus")).path)


def settings(source: Path, out: Path, workers: int = 1) -> CorpusConfig:
    return CorpusConfig(
        sources=[source], out=out, licence="MIT", deidentify=False, shard_size=40, workers=workers
    )


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chatdoctor_hub.corpus.building.build.PART_SIZE", 32)


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [
        ("parts", "rejected_table", 4),
        ("decision", "write_arrow", 1),
        ("layout", "_deal_part", 3),
        ("layout", "write_parquet", 4),
        ("folder", "record_bytes", 1),
        pytest.param("PartMaker", "_write", 1, marks=pytest.mark.slow),
        pytest.param("build", "decide", 1, marks=pytest.mark.slow),
        pytest.param("Layout", "hand_over", 1, marks=pytest.mark.slow),
        pytest.param("folder", "render_data_card", 1, marks=pytest.mark.slow),
    ],
)
def test_a_killed_build_goes_on(
    tmp_path: Path,
    source: Path,
    undisturbed: dict[str, bytes],
    small_parts: None,
    module: str,
    name: str,
    calls: int,
) -> None:
    out = tmp_path / "corpus"
    arguments = [str(source), str(out), module, name, str(calls), "SIGKILL"]
    ended = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert not out.exists()
    assert content(build_corpus(settings(source, out)).path) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["corpus"]


def test_what_was_made_is_not_made_again(
    tmp_path: Path,
    source: Path,
    undisturbed: dict[str, bytes],
    small_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "corpus"
    made: list[int] = []
    real = PartMaker.make

    def make(self: PartMaker, number: int, *rest: object) -> object:
        if len(made) == 6:
            raise KeyboardInterrupt
        made.append(number)
        return real(self, number, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(PartMaker, "make", make)
    with pytest.raises(KeyboardInterrupt):
        build_corpus(settings(source, out))
    assert not out.exists()
    hidden = tmp_path / ".corpus.build"
    assert [path.name for path in tmp_path.iterdir()] == [hidden.name]
    assert hidden.stat().st_mode & 0o077 == 0
    made.clear()
    assert content(build_corpus(settings(source, out)).path) == undisturbed
    assert made == [6, 7, 8, 9]


def test_an_older_corpus_stays_until_the_new_one_is_whole(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    older = build_corpus(settings(source, tmp_path / "corpus"))
    before = content(older.path)
    changed = settings(source, tmp_path / "corpus").model_copy(update={"seed": 1})
    with monkeypatch.context() as patch:
        patch.setattr("chatdoctor_hub.corpus.folder.render_data_card", lambda record: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            build_corpus(changed)
    assert content(older.path) == before
    assert build_corpus(changed).digest != older.digest


def test_other_settings_or_files_begin_anew(
    tmp_path: Path, source: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "corpus"
    other = write_lines(tmp_path / "raw.jsonl", faulty(200))
    with monkeypatch.context() as patch:
        patch.setattr("chatdoctor_hub.corpus.folder.render_data_card", lambda record: 1 / 0)
        for config in (settings(other, out), settings(source, out).model_copy(update={"min_words": 5})):
            with pytest.raises(ZeroDivisionError):
                build_corpus(config)
    assert content(build_corpus(settings(source, out)).path) == undisturbed


def test_two_builds_of_one_corpus_do_not_mix(tmp_path: Path, source: Path) -> None:
    with workplace(tmp_path / "corpus", {"parts": "x"}), pytest.raises(DataError, match="another process"):
        build_corpus(settings(source, tmp_path / "corpus"))
    build_corpus(settings(source, tmp_path / "corpus"))


def test_stages_are_kept_while_their_keys_stay(tmp_path: Path) -> None:
    def fill(keys: dict[str, str]) -> list[str]:
        found: list[str] = []
        with suppress(ZeroDivisionError), workplace(tmp_path / "corpus", keys) as stages:
            for stage, folder in stages.items():
                found += [stage for _ in folder.iterdir()]
                (folder / "x").write_text("x")
            raise ZeroDivisionError
        return found

    assert fill({"a": "1", "b": "1", "c": "1"}) == []
    assert fill({"a": "1", "b": "1", "c": "1"}) == ["a", "b", "c"]
    assert fill({"a": "1", "b": "2", "c": "1"}) == ["a"]
    (tmp_path / ".corpus.build" / "keys.json").write_text("[")
    assert fill({"a": "1", "b": "2", "c": "1"}) == []


def test_workers_end_with_a_killed_build(
    tmp_path: Path, source: Path, undisturbed: dict[str, bytes], small_parts: None
) -> None:
    script = tmp_path / "child.py"
    script.write_text(
        "import sys\n"
        "from chatdoctor_hub.corpus.building import build, config\n"
        "def tell(progress):\n"
        "    if progress.done >= 64:\n"
        "        print('working', flush=True)\n"
        "        input()\n"
        "if __name__ == '__main__':\n"
        "    build.PART_SIZE = 32\n"
        "    build.build_corpus(config.CorpusConfig(sources=[sys.argv[1]], out=sys.argv[2], licence='MIT', "
        "deidentify=False, shard_size=40, workers=2), on_progress=tell)\n"
    )
    out = tmp_path / "out" / "corpus"
    with subprocess.Popen(
        [sys.executable, str(script), str(source), str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"working\n"
        workers = children(child.pid)
        assert len(workers) >= 2
        child.kill()
    deadline = time.monotonic() + 20
    while any(map(is_alive, workers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, workers))
    assert content(build_corpus(settings(source, out)).path) == undisturbed


def children(pid: int) -> list[int]:
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    if not listed.exists():
        pytest.skip("this system does not list the children of a process")
    return [int(one) for one in listed.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_ctrl_c_in_another_process(
    tmp_path: Path, source: Path, undisturbed: dict[str, bytes], small_parts: None
) -> None:
    out = tmp_path / "corpus"
    arguments = [str(source), str(out), "layout", "write_parquet", "3", "SIGINT"]
    ended = subprocess.run([sys.executable, "-c", CHILD, *arguments], capture_output=True, check=False)
    assert b"KeyboardInterrupt" in ended.stderr
    assert [path.name for path in tmp_path.iterdir()] == [".corpus.build"]
    corpus = build_corpus(settings(source, out))
    assert content(corpus.path) == undisturbed
    assert Corpus.open(out) == corpus
