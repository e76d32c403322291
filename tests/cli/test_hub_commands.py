"""`chatdoctor publish` and `chatdoctor fetch` in a process of their own, against a real server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "hub_stand_in"))


from stand_in_hub import StandInHub

Ended = subprocess.CompletedProcess[str]
Call = Callable[..., Ended]
COMMAND = "from chatdoctor_hub.cli import main; main()"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[StandInHub]:
    with StandInHub(tmp_path / "hub") as served:
        yield served


@pytest.fixture
def call(hub: StandInHub, tmp_path: Path) -> Call:
    environment = hub.environment(hub.token("me"))
    environment |= {"PYTHONPATH": ":".join(sys.path), "NO_COLOR": "1", "COLUMNS": "150"}

    def run(*arguments: object, stdin: str = "", **changes: str) -> Ended:
        return subprocess.run(
            [sys.executable, "-c", COMMAND, *map(str, arguments)],
            cwd=tmp_path,
            env=environment | changes,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def refused(ended: Ended, *parts: str) -> None:
    """One sentence on standard error, and status 2."""
    assert ended.returncode == 2, (ended.stdout, ended.stderr)
    said = ended.stderr.splitlines()[-1]
    assert said.startswith("chatdoctor: "), ended.stderr
    assert "xpected" in said
    for part in parts:
        assert part in said, said


def test_from_the_plan_to_the_chat(hub: StandInHub, call: Call, release: Path, tmp_path: Path) -> None:
    planned = call("publish", release, "me/tiny", "--public", "--tag", "v1", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "chatdoctor.json" in planned.stdout
    assert "public, once it is verified" in planned.stdout
    assert not hub.repo("me/tiny").exists

    done = call("publish", release, "me/tiny", "--public", "--tag", "v1", stdin="y\n")
    assert done.returncode == 0, done.stderr
    assert "as PUBLIC model me/tiny?" in done.stdout
    assert 'ChatDoctor(model="me/tiny", revision="v1")' in done.stdout
    assert f"at {hub.repo('me/tiny').head}, tag v1" in done.stdout
    assert "the model loaded and asked" in done.stdout
    assert not hub.repo("me/tiny").private

    again = call("publish", release, "me/tiny", "--public", "--tag", "v1", "--yes", "--json", "--no-answer")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["changed"] is False
    assert json.loads(again.stdout)["verified"]["answered"] is False
    assert json.loads(again.stdout)["commit"] == hub.repo("me/tiny").head

    fetched = call("fetch", "me/tiny", "--revision", "v1", "--out", tmp_path / "out")
    assert fetched.stdout.strip() == str(tmp_path / "out"), fetched.stderr
    assert (tmp_path / "out" / "chatdoctor.json").read_bytes() == (release / "chatdoctor.json").read_bytes()

    chat = call("chat", "me/tiny", "--revision", "v1", "--max-tokens", "4", stdin="Hello\n\n")
    assert chat.returncode == 0, chat.stderr
    assert "Doctor:" in chat.stdout
    refused(call("chat", "me/tiny", "--revision", "v9"), "me/tiny", "that revision")


def test_the_plan_as_json(hub: StandInHub, call: Call, release: Path) -> None:
    planned = call("publish", release, "tiny", "--dry-run", "--json", "--gated", "manual")
    record = json.loads(planned.stdout)
    assert (record["repo"], record["visibility"], record["allowed"]) == ("me/tiny", "private", True)
    assert record["settings"]["gated"] == "manual"
    assert {file["state"] for file in record["files"]} == {"new"}


@pytest.mark.parametrize("answer", ["", "n\n", "maybe\n"])
def test_without_a_yes_nothing_is_sent(hub: StandInHub, call: Call, release: Path, answer: str) -> None:
    ended = call("publish", release, "me/tiny", stdin=answer)
    refused(ended, "expected a yes", "nothing was sent")
    assert "PRIVATE" in ended.stdout
    assert not hub.repo("me/tiny").exists


def test_a_plan_that_is_not_allowed_says_so(call: Call, copied: Path) -> None:
    (copied / "optimizer.pt").write_bytes(b"x")
    ended = call("publish", copied, "me/tiny", "--dry-run")
    refused(ended, "optimizer.pt", "use safetensors")
    assert "! pickles: optimizer.pt" in ended.stdout


def test_bad_input(hub: StandInHub, call: Call, release: Path, copied: Path, tmp_path: Path) -> None:
    refused(call("publish", release, "me/tiny", "--yes", HF_TOKEN=""), "hf auth login")
    refused(
        call("publish", release, "me/tiny", "--yes", HF_TOKEN=hub.token("me", role="read")), "write rights"
    )
    refused(call("publish", release, "me/bad name", "--yes"), "a repo id such as")
    refused(call("publish", tmp_path, "me/tiny", "--yes"), "expected a release or a corpus", "publish ")
    refused(call("publish", release, "other/tiny", "--yes"), "a token of other")
    refused(call("publish", release, "me/tiny", "--type", "dataset"), "expected a corpus")
    refused(call("publish", release, "me/tiny", "--merge"), "merge with a pull request")
    refused(call("fetch", "me/nothing"), "me/nothing", "found none of that name")
    refused(call("fetch", "me/nothing", HF_HUB_OFFLINE="1"), "HF_HUB_OFFLINE")
    refused(call("fetch", "me/nothing", HF_ENDPOINT="nonsense"), "the address of a Hub", "'nonsense'")
    refused(call("publish", release, "me/tiny", "--accept", "secrets"), "accept among", "remote-edits")
    shutil.rmtree(copied / "additional_chat_templates")
    refused(call("publish", copied, "me/tiny", "--yes"), "training.jinja")
    assert not hub.repo("me/tiny").exists
