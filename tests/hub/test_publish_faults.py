"""Faults at every request of a publish, one by one: before or complete, never in between; and a rerun completes it."""

from __future__ import annotations

import shutil
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
        return publish(self.folder, "me/tiny", endpoint=hub.url, token=token, public=True, tag=self.tag)

    def hub(self, root: Path) -> tuple[StandInHub, str]:
        shutil.copytree(self.start, root)
        hub = StandInHub(root, xet=self.xet)
        return hub, hub.token("me")

    def requests(self, root: Path) -> int:
        hub, token = self.hub(root)
        with hub:
            self.publish(hub, token)
            return len(hub.requests)

    def holds(self, root: Path, fault: Fault, number: int) -> None:
        """With this fault at that request, and without one in the rerun."""
        hub, token = self.hub(root)
        wanted = bytes_of(self.folder)
        with hub:
            before = state(hub)
            hub.fault_at(number, fault)
            error: HubError | None = None
            try:
                self.publish(hub, token)
            except HubError as raised:
                error = raised
            hub.clear_faults()
            if fault.kind == "kill":
                hub.start()
            after = state(hub)
            assert after["files"] in (before["files"], wanted), "neither as before nor complete"
            if not before["files"] and not after["private"]:
                assert after["files"] == wanted, "public before it was complete"
            if error is None:
                assert (after["files"], after["private"]) == (wanted, False)
            else:
                assert "xpected" in str(error)
                assert fault.kind in ("412", "kill") or not isinstance(error, HubConflictError), str(error)
            again = self.publish(hub, token)
            end = state(hub)
            assert (end["files"], end["private"]) == (wanted, False)
            assert end["commits"] == before["commits"] + 1, "one commit, however often it was tried"
            assert again.commit == hub.repo("me/tiny").head == hub.repo("me/tiny").tags[self.tag]
        shutil.rmtree(root)


def first_time(folder: Path, tmp_path: Path, xet: bool = False) -> Proof:
    with StandInHub(tmp_path / "start", xet=xet):
        pass
    (tmp_path / "start").mkdir(exist_ok=True)
    return Proof(tmp_path / "start", folder, "v1", xet)


def second_time(folder: Path, tmp_path: Path, xet: bool = False) -> Proof:
    with StandInHub(tmp_path / "start", xet=xet) as hub:
        publish(folder, "me/tiny", endpoint=hub.url, token=hub.token("me"), public=True, tag="v1")
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


def test_an_interrupted_upload_goes_on_where_it_stopped(
    slim: Path, hub: StandInHub, at_once: list[float]
) -> None:
    """Large files that arrived are not sent again."""
    me = {"endpoint": hub.url, "token": hub.token("me")}
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
