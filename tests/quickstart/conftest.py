"""The main job, done once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_job import Done, perform, settings_for


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Not to be changed; see `copied`."""
    return perform(settings_for(tmp_path_factory.mktemp("jobs") / "quickstart", epochs=2.0))


@pytest.fixture
def copied(done: Done, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the finished job's folder to do as one likes with."""
    return lambda: Path(shutil.copytree(done.out, tmp_path / "quickstart"))
