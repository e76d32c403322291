"""A tuning run and its release, made once a session."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_run

from chatdoctor_hub.release import ReleaseFolder
from chatdoctor_hub.training import RunFolder


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    pytest.importorskip("peft")
    return tiny_run.make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def release(run: RunFolder, tmp_path_factory: pytest.TempPathFactory) -> ReleaseFolder:
    """Not to be changed; see `copied`."""
    return tiny_run.make_release(run, tmp_path_factory.mktemp("releases") / "tiny-doctor")


@pytest.fixture
def copied(release: ReleaseFolder, tmp_path: Path) -> Callable[[], Path]:
    """A copy of the release to do as one likes with."""
    return lambda: Path(shutil.copytree(release.path, tmp_path / "copy"))


@pytest.fixture
def other_run(run: RunFolder, tmp_path: Path) -> Callable[[], RunFolder]:
    """A copy of the run to do as one likes with."""
    return lambda: RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))
