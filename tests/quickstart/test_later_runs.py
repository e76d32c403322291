"""What a later run makes of what an earlier one left, and Ctrl-C on the command line."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny_job import Done, merged_weights, perform, weights_of

from chatdoctor_hub.quickstart import steps


def test_a_step_that_comes_out_otherwise_makes_the_later_ones_be_done_again(
    done: Done, copied: Callable[[], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other threads or another precision may give other weights from the same inputs."""
    out, real = copied(), steps.fine_tune
    shutil.rmtree(out / "tuning")
    other = lambda config, **more: real(config.model_copy(update={"seed": 5}), **more)  # noqa: E731
    monkeypatch.setattr(steps, "fine_tune", other)
    again = perform(dataclasses.replace(done.settings, out=out))
    assert again.reused == [True, True, True, False, False, False, False]
    assert weights_of(out / "release") == merged_weights(out, tmp_path / "merged")
    assert weights_of(out / "release") != weights_of(done.out / "release")


def test_a_base_that_is_given_replaces_the_note_of_the_tiny_one(
    done: Done, copied: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copied()
    perform(dataclasses.replace(done.settings, out=out, base=str(done.out / "base")))
    assert [path.name for path in (out / "base").iterdir()] == ["base.txt"]


def test_a_moved_folder_goes_on(done: Done, copied: Callable[[], Path], tmp_path: Path) -> None:
    out = copied()
    moved = out.rename(tmp_path / "moved")
    shutil.rmtree(moved / "tuning")
    hidden = done.out.rename(done.out.with_name("hidden"))
    try:
        perform(dataclasses.replace(done.settings, out=moved))
    finally:
        hidden.rename(done.out)


def test_ctrl_c_says_so(tmp_path: Path) -> None:
    working: Any = subprocess.Popen(
        [Path(sys.executable).with_name("chatdoctor"), "quickstart", "--out", "q"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list((tmp_path / "q").glob(".base.*")):
        time.sleep(0.05)
    working.send_signal(signal.SIGINT)
    _, said = working.communicate(timeout=60)
    assert "Stopped; nothing half-written was left. The same command goes on where it stopped." in said
