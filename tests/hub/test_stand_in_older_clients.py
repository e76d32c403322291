"""The stand-in Hub under the oldest and the newest huggingface_hub 1: the tests of before, in their own process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TESTS = tuple(f"test_stand_in_{part}.py" for part in ("repos", "faults", "files", "jobs"))


@pytest.mark.slow
@pytest.mark.parametrize("version", ["1.31.0", "1.33.0"])
def test_older_clients_are_served_as_well(version: str, tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(packages)]
    wanted = [f"huggingface_hub=={version}", "httpx<1"]
    done = subprocess.run([*install, *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"huggingface_hub {version} cannot be installed here: {done.stderr.splitlines()[-1]}")
    paths = os.pathsep.join([str(packages), *(path for path in sys.path if path)])
    environment = {**os.environ, "PYTHONPATH": paths}
    found = [sys.executable, "-c", "import huggingface_hub; print(huggingface_hub.__version__)"]
    assert (
        subprocess.run(found, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        == version
    )
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        *(str(HERE / name) for name in TESTS),
    ]
    done = subprocess.run(
        command, env=environment, cwd=HERE.parents[1], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
