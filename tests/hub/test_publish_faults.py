"""Faults at every request of a publish, one by one: before or complete, never in between; and a rerun completes it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stand_in_hub import Fault, StandInHub

from chatdoctor_hub.errors import HubConflictError, HubError
from chatdoctor_hub.hub import PublishedRelease, publish

FAULTS = {
    "reset": Fault("reset"),
    "reset, carried out": Fault("reset", after=True),
    "429": Fault("429"),
    "500": Fault("500"),
    "500, carried out": Fault("500", after=True),
    "412": Fault("412"),
    "slow": Fault("slow", seconds=0.1),
    "truncate": Fault("truncate"),
    "kill": Fault("kill"),
    "kill, carried out": Fault("kill", after=True),
}
PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(3000)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


UNASKED: dict[str, Any] = {"ask": False, "accept": ("unasked", "pictures")}
"""Without loading the weights at each of hundreds of publishes, and with a picture that no record lists."""


def state(hub: StandInHub) -> dict[str, Any]:
    """All that can be told of the repository from outside."""
    repo = hub.repo("me/tiny")
    if not repo.exists:
        return {"files": {}, "commits": 1, "private": True}
    files = dict(repo.files("main"))
    files.pop(".gitattributes", None)
    return {"files": files, "commits": len(repo.commits), "private": repo.private}


@dataclass(frozen=True)
class Proof:
    """A hub as it is before, and a publish that changes it.

    Args:
        start: its storage.
        folder: what is published.
        tag: of that.
        xet: large files go through Xet.
    """

    start: Path
    folder: Path
    tag: str
    xet: bool = False

    def publish(self, hub: StandInHub, token: str) -> PublishedRelease:
        return publish(
            self.folder, "me/tiny", endpoint=hub.url, token=token, public=True, tag=self.tag, **UNASKED
        )

    def hub(self, root: Path) -> tuple[StandInHub, str]:
        shutil.copytree(self.start, root)
        hub = StandInHub(root, xet=self.xet)
        return hub, hub.token("me")

    def requests(self, root: Path) -> int:
        hub, token = self.hub(root)
        with hub:
            self.publish(hub, token)
            return len(hub.requests)

    @contextmanager
    def restarted(self, hub: StandInHub, fault: Fault) -> Iterator[None]:
        """Start a hub that is killed again: when all is over, or at once for hf_xet, which would try for minutes."""
        over = threading.Event()

        def restart() -> None:
            hub.halted.wait()
            if not over.is_set():
                hub.start()

        waiting = threading.Thread(target=restart)
        if self.xet:
            waiting.start()
        try:
            yield
        finally:
            over.set()
            hub.halted.set()
            if self.xet:
                waiting.join()
            if fault.kind == "kill":
                hub.start()

    def holds(self, root: Path, fault: Fault, number: int) -> None:
        """With this fault at that request, and without one in the rerun."""
        hub, token = self.hub(root)
        with hub:
            before = state(hub)
            hub.fault_at(number, fault)
            error: HubError | None = None
            with self.restarted(hub, fault):
                try:
                    self.publish(hub, token)
                except HubError as raised:
                    error = raised
                hub.clear_faults()
            self.is_whole_or_as_before(hub, before, done=error is None)
            if error is not None:
                assert "xpected" in str(error)
                assert fault.kind in ("412", "kill") or not isinstance(error, HubConflictError), str(error)
            self.is_completed(hub, token, before)
        shutil.rmtree(root)

    def survives(self, root: Path, process: subprocess.Popen[str], number: int) -> None:
        """The process that publishes is killed at that request."""
        hub, token = self.hub(root)
        children: list[int] = []

        def kill(method: str, path: str, n: int) -> Fault | None:
            if n != number:
                return None
            known.wait()
            os.kill(children[0], signal.SIGKILL)
            return Fault("reset") if number % 2 else None

        known = threading.Event()
        with hub:
            before = state(hub)
            hub.fault(kill)
            told = {
                "folder": str(self.folder),
                "repo_id": "me/tiny",
                "tag": self.tag,
                "public": True,
                **UNASKED,
            }
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps({**told, "endpoint": hub.url, "token": token}) + "\n")
            process.stdin.flush()
            children.append(int(process.stdout.readline()))
            known.set()
            status = int(process.stdout.readline())
            # Two files that are downloaded at once ask for one token of Xet or for two.
            assert status == (signal.SIGKILL if len(hub.requests) >= number else 0), "it was not killed"
            hub.clear_faults()
            self.is_whole_or_as_before(hub, before, done=False)
            self.is_completed(hub, token, before)
        shutil.rmtree(root)

    def is_whole_or_as_before(self, hub: StandInHub, before: dict[str, Any], *, done: bool) -> None:
        after, wanted = state(hub), bytes_of(self.folder)
        assert after["files"] in (before["files"], wanted), "neither as before nor complete"
        if not before["files"] and not after["private"]:
            assert after["files"] == wanted, "public before it was complete"
        if done:
            assert (after["files"], after["private"]) == (wanted, False)

    def is_completed(self, hub: StandInHub, token: str, before: dict[str, Any]) -> None:
        """By publishing again."""
        again = self.publish(hub, token)
        end = state(hub)
        assert (end["files"], end["private"]) == (bytes_of(self.folder), False)
        assert end["commits"] == before["commits"] + 1, "one commit, however often it was tried"
        assert again.commit == hub.repo("me/tiny").head == hub.repo("me/tiny").tags[self.tag]


def first_time(folder: Path, tmp_path: Path, xet: bool = False) -> Proof:
    with StandInHub(tmp_path / "start", xet=xet):
        pass
    (tmp_path / "start").mkdir(exist_ok=True)
    return Proof(tmp_path / "start", folder, "v1", xet)


def second_time(folder: Path, tmp_path: Path, xet: bool = False) -> Proof:
    with StandInHub(tmp_path / "start", xet=xet) as hub:
        publish(folder, "me/tiny", endpoint=hub.url, token=hub.token("me"), public=True, tag="v1", **UNASKED)
    new = Path(shutil.copytree(folder, tmp_path / "new" / "tiny-doctor"))
    (new / "NOTICE").write_text("second")
    (new / "picture.png").write_bytes(PICTURE)
    return Proof(tmp_path / "start", new, "v2", xet)


MAKERS = {"the first": first_time, "an update": second_time}


@pytest.mark.usefixtures("at_once", "checked_once")
@pytest.mark.parametrize("which", MAKERS)
def test_one_fault_at_every_request(
    which: str, slim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each request meets one kind of fault, and each kind several requests; the slow proof does all pairs."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    proof = MAKERS[which](slim, tmp_path)
    requests = proof.requests(tmp_path / "count")
    assert requests > 20
    kinds = [fault for name, fault in FAULTS.items() if fault.kind != "slow"]
    for number in range(1, requests + 1):
        proof.holds(tmp_path / f"{number}", kinds[number % len(kinds)], number)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.usefixtures("at_once", "checked_once")
@pytest.mark.parametrize("mode", ["lfs", "xet"])
@pytest.mark.parametrize("which", MAKERS)
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_at_every_request(
    name: str,
    which: str,
    mode: str,
    slim: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if mode == "xet":
        pytest.importorskip("hf_xet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", mode == "lfs")
    proof = MAKERS[which](slim, tmp_path, mode == "xet")
    for number in range(1, proof.requests(tmp_path / "count") + 1):
        proof.holds(tmp_path / f"{number}", FAULTS[name], number)


PUBLISHER = """
import json, os, sys
import transformers.models.auto.tokenization_auto
from chatdoctor_hub.hub import publish
from chatdoctor_hub.hub.contents import read_contents
read_contents(sys.argv[1])
print("ready", flush=True)
for line in sys.stdin:
    if not (child := os.fork()):
        try:
            publish(**json.loads(line))
            os._exit(0)
        finally:
            os._exit(1)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


@contextmanager
def publisher(hub: StandInHub, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has loaded all it needs, and forks one that publishes for each line that it is given."""
    environment = hub.environment() | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-c", PUBLISHER, str(folder)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
        process.communicate("", timeout=60)
    assert process.returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.usefixtures("at_once", "checked_once")
@pytest.mark.parametrize("mode", ["lfs", "xet"])
@pytest.mark.parametrize("which", MAKERS)
def test_a_process_killed_at_every_request(
    which: str, mode: str, slim: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other one of these requests is carried out, and nobody is there to hear of it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", mode == "lfs")
    proof = MAKERS[which](slim, tmp_path, mode == "xet")
    requests = proof.requests(tmp_path / "count")
    with publisher(StandInHub(tmp_path / "home", xet=proof.xet), proof.folder) as process:
        for number in range(1, requests + 1):
            proof.survives(tmp_path / f"{number}", process, number)


def test_an_interrupted_upload_goes_on_where_it_stopped(
    slim: Path, hub: StandInHub, at_once: list[float]
) -> None:
    """Large files that arrived are not sent again."""
    me: dict[str, Any] = {"endpoint": hub.url, "token": hub.token("me"), "ask": False}
    for name in "abcd":
        (slim / f"{name}.png").write_bytes(PICTURE + name.encode())
    puts = 0

    def stop(method: str, path: str, n: int) -> Fault | None:
        nonlocal puts
        is_file = method == "PUT" and "/storage/" in path
        puts += is_file
        return Fault("500") if is_file and puts > 2 else None

    hub.fault(stop)
    with pytest.raises(HubError, match="nothing is lost"):
        publish(slim, "me/tiny", **me)
    hub.clear_faults()
    arrived = {path for method, path, status in hub.requests if method == "PUT" and status == 200}
    before = len(hub.requests)
    publish(slim, "me/tiny", **me)
    again = {path for method, path, status in hub.requests[before:] if method == "PUT"}
    assert arrived
    assert not arrived & again
    assert len(arrived | again) == 5
