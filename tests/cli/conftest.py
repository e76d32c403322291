"""The installed console script in a process of its own, and a tiny release to chat with."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# The tiny run is described beside the tests of releases.
sys.path.append(str(Path(__file__).resolve().parents[1] / "release"))

CHATDOCTOR = Path(sys.executable).with_name("chatdoctor")
Ended = subprocess.CompletedProcess[str]


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An empty home, no Hub, no colours, one thread."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "FORCE_"))}
    home = tmp_path_factory.mktemp("home")
    return {
        **kept,
        "HOME": str(home),
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
        "COLUMNS": "80",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def chatdoctor(environment: dict[str, str], tmp_path: Path) -> Callable[..., Ended]:
    """Run the command in an empty folder."""

    def call(*arguments: str | Path, stdin: str = "") -> Ended:
        return subprocess.run(
            [CHATDOCTOR, *map(str, arguments)],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return call


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Not to be changed; see `copied`."""
    pytest.importorskip("peft")
    import tiny_run

    folder = tmp_path_factory.mktemp("cli")
    return tiny_run.make_release(tiny_run.make_run(folder), folder / "release").path


@pytest.fixture
def copied(release: Path, tmp_path: Path) -> Path:
    """A copy of the release to do as one likes with."""
    return Path(shutil.copytree(release, tmp_path / "release"))
