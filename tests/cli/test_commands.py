"""The commands as they are typed."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import chatdoctor_hub

Ended = subprocess.CompletedProcess[str]
Call = Callable[..., Ended]


def test_version(chatdoctor: Call) -> None:
    ended = chatdoctor("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"{chatdoctor_hub.__version__}\n", "")


@pytest.mark.parametrize(
    ("command", "parts"),
    [
        ((), ("quickstart", "chat", "--version")),
        (("quickstart",), ("--knowledge", "--dialogues", "--base", "--out", "--seed", "--debug")),
        (("chat",), ("MODEL", "--temperature", "--max-tokens", "--debug")),
    ],
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(command: tuple[str, ...], parts: tuple[str, ...], flag: str, chatdoctor: Call) -> None:
    ended = chatdoctor(*command, flag)
    assert (ended.returncode, ended.stderr) == (0, "")
    for part in parts:
        assert part in ended.stdout


def test_no_command_shows_the_help(chatdoctor: Call) -> None:
    assert "quickstart" in (chatdoctor().stdout or chatdoctor().stderr)


def test_a_conversation(chatdoctor: Call, release: Path) -> None:
    """Two questions, an empty line; a third line would not be read any more."""
    asked = "I have had a cough for 3 days. What should I do?\nAnd a rash?\n\nnever asked\n"
    ended = chatdoctor("chat", release, "--max-tokens", "12", stdin=asked)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "No doctor and no medical device" in ended.stdout
    assert ended.stdout.count("You:") == 3
    assert ended.stdout.count("Doctor:") <= 2
    again = chatdoctor("chat", release, "--max-tokens", "12", stdin=asked)
    assert again.stdout == ended.stdout
    assert _answers(ended)[0] == _answer_of(release, "I have had a cough for 3 days. What should I do?")


def _answers(ended: Ended) -> list[str]:
    return [part.split("\n")[0].strip() for part in ended.stdout.split("Doctor:")[1:]]


def _answer_of(release: Path, question: str) -> str:
    from chatdoctor_hub import ChatDoctor

    return str(ChatDoctor(model=str(release), max_tokens=12).invoke(question).content).strip()


def test_the_end_of_input_ends_the_chat(chatdoctor: Call, release: Path) -> None:
    ended = chatdoctor("chat", release, stdin="")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_reader_that_goes_away_is_no_error_to_report(
    environment: dict[str, str], release: Path, tmp_path: Path
) -> None:
    command = Path(sys.executable).with_name("chatdoctor")
    talking = subprocess.Popen(
        [command, "chat", release, "--max-tokens", "200"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert talking.stdin is not None
    assert talking.stdout is not None
    talking.stdout.close()
    _, said = talking.communicate("hello\n" * 3, timeout=60)
    assert "Traceback" not in said
    assert "not foreseen" not in said


def test_ctrl_c_says_so_and_leaves_nothing_half_written(environment: dict[str, str], tmp_path: Path) -> None:
    command = Path(sys.executable).with_name("chatdoctor")
    working = subprocess.Popen(
        [command, "quickstart", "--out", "q"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, deadline = tmp_path / "q", time.monotonic() + 90
    # A hidden folder stands beside its place while the base is trained.
    while not list(out.glob(".base.*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(out.glob(".base.*")), "the base was never begun"
    time.sleep(0.5)
    working.send_signal(signal.SIGINT)
    _, said = working.communicate(timeout=60)
    assert working.returncode == 130
    assert "Traceback" not in said
    assert "Stopped; nothing half-written was left. The same command goes on where it stopped." in said
    assert sorted(path.name for path in out.iterdir()) == ["corpus", "knowledge", "steps.json"]
