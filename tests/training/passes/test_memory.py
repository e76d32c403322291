"""What the system leaves a process, whichever limits are set on it."""

from __future__ import annotations

from pathlib import Path

import pytest

from chatdoctor_hub.training.passes.memory import _of_group, free_memory

pytest.importorskip("torch")


def test_free_memory_is_some_of_what_there_is():
    assert 2**20 < free_memory("cpu") < 2**50


def group(root: Path, name: str, files: dict[str, str]) -> None:
    place = root / "sys/fs/cgroup" / name
    place.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (place / file).write_text(text, encoding="ascii")


def membership(root: Path, text: str) -> None:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(text, encoding="ascii")


def test_the_tightest_control_group_counts(tmp_path):
    membership(tmp_path, "0::/outer/inner\n")
    group(tmp_path, "outer", {"memory.max": "1000000\n", "memory.current": "600000\n"})
    group(tmp_path, "outer/inner", {"memory.max": "max\n", "memory.current": "500000\n"})
    assert _of_group(tmp_path) == 400_000
    group(tmp_path, "outer", {"memory.stat": "anon 5\ninactive_file 50000\nslab 7\n"})
    assert _of_group(tmp_path) == 450_000


def test_the_older_kind_of_control_group(tmp_path):
    membership(tmp_path, "5:cpu,cpuacct:/a\n4:memory:/job\n")
    group(tmp_path, "memory/job", {"memory.limit_in_bytes": "900\n", "memory.usage_in_bytes": "1000\n"})
    assert _of_group(tmp_path) == 0


def test_no_control_group_is_no_limit(tmp_path):
    assert _of_group(tmp_path) is None
    membership(tmp_path, "0::/\n")
    assert _of_group(tmp_path) is None
