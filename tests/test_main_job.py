"""The main job as a user runs it, whole: minutes, so behind the marker `slow`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CHATDOCTOR = Path(sys.executable).with_name("chatdoctor")
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "01_quickstart.py"


def run(*arguments: str | Path, cwd: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """Run a command with an empty home folder and the Hub switched off."""
    environment = {**os.environ, "HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HOME", None)
    return subprocess.run(
        [str(part) for part in arguments],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def check_release(release: Path, printed: str) -> dict:
    manifest = json.loads((release / "chatdoctor.json").read_text(encoding="utf-8"))
    card = (release / "README.md").read_text(encoding="utf-8")
    after = manifest["metrics"]["perplexity"]["after"]
    assert f"{after['perplexity']:.2f}" in card
    assert f"{after['perplexity']:.2f}" in printed
    for form in ("training", "serving"):
        attack = manifest["metrics"]["attack_success"]["tuned"][form]
        assert attack["n"] == 30
        assert f"{attack['successes']}/{attack['n']}" in card
        assert f"{attack['successes']}/{attack['n']}" in printed
    return manifest


def test_the_default_main_job_and_its_resumption(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    killed = subprocess.Popen(
        [CHATDOCTOR, "quickstart"],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(home)},
        stdout=subprocess.DEVNULL,
    )
    base = tmp_path / "runs" / "quickstart"
    deadline = time.monotonic() + 120
    while not list(base.glob(".base.*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    killed.send_signal(signal.SIGINT)
    assert killed.wait(timeout=60) == 130
    assert not list(base.glob(".*.new")), "Ctrl-C left something half-written"

    first = run(CHATDOCTOR, "quickstart", cwd=tmp_path, home=home)
    assert first.returncode == 0, first.stderr
    assert "done before with the same inputs" in first.stdout
    manifest = check_release(base / "release", first.stdout)
    perplexity = manifest["metrics"]["perplexity"]
    assert perplexity["after"]["perplexity"] < perplexity["before"]["perplexity"]
    serving = manifest["metrics"]["attack_success"]["tuned"]["serving"]
    assert serving["rate"] <= 0.5
    assert "chatdoctor chat" in first.stdout
    assert "hf upload" in first.stdout

    second = run(CHATDOCTOR, "quickstart", cwd=tmp_path, home=home)
    assert second.stdout.count("done before with the same inputs") == 7


def test_the_example(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run(sys.executable, EXAMPLE, tmp_path / "out", cwd=tmp_path, home=home)
    assert done.returncode == 0, done.stderr
    check_release(tmp_path / "out" / "release", done.stdout)


def test_the_main_job_on_published_data(tmp_path: Path, shared_data: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    done = run(
        CHATDOCTOR,
        "quickstart",
        "--knowledge",
        shared_data / "chatdoctor" / "format_dataset.csv",
        "--dialogues",
        shared_data / "chatdoctor" / "genmedgpt_4000.json",
        cwd=tmp_path,
        home=home,
    )
    assert done.returncode == 0, done.stderr
    assert "796 rows of 796 used" in done.stdout
    manifest = check_release(tmp_path / "runs" / "quickstart" / "release", done.stdout)
    assert manifest["metrics"]["perplexity"]["after"]["nll_per_token"] < 2.2
