"""Faults at every request of a publish, one by one: before or complete, never in between; and a rerun completes it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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
    "slow": Fault("slow", seconds=0.2),
    "truncate": Fault("truncate"),
    "kill": Fault("kill"),
    "kill, carried out": Fault("kill", after=True),
}


def bytes_of(folder: Path) -> dict[str, bytes]:
    found = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return found


def state(hub: StandInHub) -> dict[str, Any] | None:
    """All that a visitor can tell of the repository; None where there is none."""
    repo = hub.repo("me/tiny")
    if not repo.exists:
        return None
    files = dict(repo.files("main"))
    files.pop(".gitattributes", None)
    return {"files": files, "commits": len(repo.commits), "private": repo.private, "tags": sorted(repo.tags)}


@pytest.fixture
def small(release: Path) -> Path:
    """The release without its pictures, which the proof does not need."""
    return release


def count_requests(root: Path, prepare: Callable[[StandInHub, str], None], call: Callable[..., Any]) -> int:
    with StandInHub(root) as hub:
        token = hub.token("me")
        prepare(hub, token)
        before = len(hub.requests)
        call(hub, token)
        return len(hub.requests) - before


def first_time(folder: Path) -> tuple[Callable[[StandInHub, str], None], Callable[..., PublishedRelease]]:
    def prepare(hub: StandInHub, token: str) -> None:
        pass

    def call(hub: StandInHub, token: str) -> PublishedRelease:
        return publish(folder, "me/tiny", endpoint=hub.url, token=token, public=True, tag="v1")

    return prepare, call


def second_time(old: Path, new: Path) -> tuple[Callable[[StandInHub, str], None], Callable[..., PublishedRelease]]:
    def prepare(hub: StandInHub, token: str) -> None:
        publish(old, "me/tiny", endpoint=hub.url, token=token, public=True, tag="v1")

    def call(hub: StandInHub, token: str) -> PublishedRelease:
        return publish(new, "me/tiny", endpoint=hub.url, token=token, public=True, tag="v2")

    return prepare, call


def prove(
    root: Path,
    fault: Fault,
    number: int,
    prepare: Callable[[StandInHub, str], None],
    call: Callable[..., PublishedRelease],
    wanted: dict[str, bytes],
) -> None:
    with StandInHub(root) as hub:
        token = hub.token("me")
        prepare(hub, token)
        before = state(hub)
        hub.fault_at(number, fault)
        try:
            done = call(hub, token)
            told = None
        except HubError as error:
            done, told = None, error
            if fault.kind != "412":
                assert not isinstance(error, HubConflictError), str(error)
        hub.clear_faults()
        if fault.kind == "kill":
            hub.start()
        after = state(hub)
        assert after is None or before is None or after["files"] in (before["files"], wanted)
        assert after is None or after["files"] in ({}, (before or {}).get("files"), wanted)
        if after is not None and not after["private"]:
            assert after["files"] == wanted or after == before
        if done is not None:
            assert after is not None
            assert after["files"] == wanted
            assert not after["private"]
        else:
            assert told is not None
            assert "xpected" in str(told)
        again = call(hub, token)
        end = state(hub)
        assert end is not None
        assert end["files"] == wanted
        assert not end["private"]
        assert end["commits"] == (before["commits"] if before else 1) + 1, "one commit, however often it was tried"
        assert again.commit == hub.repo("me/tiny").head == hub.repo("me/tiny").tags[str(again.tag)]


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_request_of_an_update(
    name: str, release: Path, tmp_path: Path, at_once: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    new = Path(shutil.copytree(release, tmp_path / "new" / "tiny-doctor"))
    (new / "NOTICE").write_text("second")
    (new / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(5000))
    prepare, call = second_time(release, new)
    requests = count_requests(tmp_path / "count", prepare, call)
    assert requests > 20
    for number in range(1, requests + 1):
        prove(tmp_path / f"{number}", FAULTS[name], number, prepare, call, bytes_of(new))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_at_any_request_of_the_first_publish(
    name: str, release: Path, tmp_path: Path, at_once: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    prepare, call = first_time(release)
    requests = count_requests(tmp_path / "count", prepare, call)
    for number in range(1, requests + 1):
        prove(tmp_path / f"{number}", FAULTS[name], number, prepare, call, bytes_of(release))
