"""The commands as they are typed."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import chatdoctor_hub
from chatdoctor_hub.errors import ContextLengthError

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
        (("chat",), ("{model}", "--temperature", "--max-tokens", "--debug")),
    ],
)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(command: tuple[str, ...], parts: tuple[str, ...], flag: str, chatdoctor: Call) -> None:
    ended = chatdoctor(*command, flag)
    assert (ended.returncode, ended.stderr) == (0, "")
    for part in parts:
        assert part.lower() in ended.stdout.lower()


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
    assert _answers(ended)[0] == _answer_of(release, "I have had a cough for 3 days. What should I do?")


def _answers(ended: Ended) -> list[str]:
    return [part.split("\n")[0].strip() for part in ended.stdout.split("Doctor:")[1:]]


def _answer_of(release: Path, question: str) -> str:
    from chatdoctor_hub import ChatDoctor

    return str(ChatDoctor(model=str(release), max_tokens=12).invoke(question).content).strip()


def talk(release: Path, lines: list[str], monkeypatch: pytest.MonkeyPatch, max_tokens: int) -> str:
    """A conversation in this process; what is printed. The input ends after the lines."""
    from rich.console import Console

    from chatdoctor_hub.cli.conversation import converse

    printed = io.StringIO()
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
    converse(str(release), temperature=0.0, max_tokens=max_tokens, console=Console(file=printed, width=80))
    return printed.getvalue()


def test_the_end_of_input_ends_the_chat(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "An empty line ends the chat." in talk(release, [], monkeypatch, 5)
    assert talk(release, ["a cough"], monkeypatch, 5).count("Doctor:") <= 1


def test_a_chat_that_outgrows_the_model_loses_its_oldest_exchanges(
    release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each question takes more than half of the 512 tokens that are left beside the prompt."""
    long = "I have had a rash for 3 days. " * 22
    printed = talk(release, [long, long, "a cough"], monkeypatch, 100)
    assert "the oldest exchange no longer fits and is left out" in printed
    with pytest.raises(ContextLengthError):
        talk(release, [long * 3], monkeypatch, 100)


@pytest.mark.parametrize("arguments", [("--help",), ("quickstart", "--out", "q", "--knowledge", "gone.csv")])
def test_a_reader_that_goes_away_is_no_error_to_report(
    arguments: tuple[str, ...], environment: dict[str, str], tmp_path: Path
) -> None:
    """As in `chatdoctor … | head -0`."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        ended = subprocess.run(
            [Path(sys.executable).with_name("chatdoctor"), *arguments],
            cwd=tmp_path,
            env=environment,
            stdout=gone,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ended.returncode == 1
    assert ended.stderr == ""


def test_ctrl_c_leaves_nothing_half_written(environment: dict[str, str], tmp_path: Path) -> None:
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
    assert working.returncode == 130, said
    assert "Traceback" not in said
    assert sorted(path.name for path in out.iterdir()) == ["corpus", "knowledge", "steps.json"]
