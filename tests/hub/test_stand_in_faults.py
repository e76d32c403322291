"""The stand-in Hub: faults are injected where they were asked for, and nowhere else."""

from __future__ import annotations

import hashlib
import importlib
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import get_session
from stand_in_hub import Fault, StandInHub

# huggingface_hub 1 talks by httpx, 2 by httpx2.
httpx: Any = importlib.import_module(type(get_session()).__module__.split(".")[0])


@pytest.fixture
def api(hub: StandInHub) -> HfApi:
    api = HfApi(endpoint=hub.url, token=hub.token("me"))
    api.create_repo("me/thing")
    return api


def answer(hub: StandInHub, path: str = "/api/models/me/thing", **options: object) -> httpx.Response:
    return httpx.get(hub.url + path, **options)


def test_requests_are_logged_in_order(hub: StandInHub, api: HfApi) -> None:
    api.model_info("me/thing")
    api.repo_exists("me/nothing")
    assert hub.requests == [
        ("POST", "/api/repos/create", 200),
        ("GET", "/api/models/me/thing", 200),
        ("GET", "/api/models/me/nothing", 404),
    ]


@pytest.mark.parametrize("status", [429, 500, 503, 412])
def test_the_chosen_request_fails_and_no_other(hub: StandInHub, api: HfApi, status: int) -> None:
    hub.fault_at(2, Fault(str(status), retry_after=7))
    assert [answer(hub).status_code for _ in range(3)] == [200, status, 200]
    hub.fault(lambda method, path, n: Fault(str(status), retry_after=7) if path.endswith("/refs") else None)
    failed = answer(hub, "/api/models/me/thing/refs")
    assert failed.status_code == status
    assert failed.headers.get("Retry-After") == ("7" if status == 429 else None)
    hub.clear_faults()
    assert answer(hub, "/api/models/me/thing/refs").status_code == 200


def test_a_reset_is_a_reset(hub: StandInHub, api: HfApi) -> None:
    hub.fault_at(1, Fault("reset"))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.WriteError)):
        answer(hub)
    assert hub.requests[-1] == ("GET", "/api/models/me/thing", 0)
    assert answer(hub).status_code == 200


def test_a_truncated_body_ends_early(hub: StandInHub, api: HfApi) -> None:
    hub.fault_at(1, Fault("truncate"))
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete"):
        answer(hub)
    hub.fault_at(1, Fault("truncate"))
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        httpx.head(hub.url + "/me/thing/resolve/main/.gitattributes")


def test_slow_is_slow_and_holds_up_nobody_else(hub: StandInHub, api: HfApi) -> None:
    hub.fault(lambda method, path, n: Fault("slow", seconds=1.5) if path.endswith("/refs") else None)
    with pytest.raises(httpx.ReadTimeout):
        answer(hub, "/api/models/me/thing/refs", timeout=0.1)
    start = time.monotonic()
    assert answer(hub).status_code == 200
    assert time.monotonic() - start < 1.2
    assert answer(hub, "/api/models/me/thing/refs").status_code == 200


def test_an_answer_that_is_lost_leaves_what_was_done(hub: StandInHub, api: HfApi) -> None:
    for kind, status in (("reset", 0), ("500", 500)):
        before = hub.repo("me/thing").head
        hub.fault(
            lambda _, path, n, kind=kind: Fault(kind, after=True) if path.endswith("/commit/main") else None
        )
        with pytest.raises((httpx.TransportError, HfHubHTTPError)):
            api.create_commit("me/thing", [CommitOperationAdd(f"{kind}.txt", b"x")], commit_message="Add")
        assert hub.repo("me/thing").head != before
        assert hub.requests[-1][2] == status
        hub.clear_faults()


@pytest.mark.parametrize("after", [False, True])
def test_a_killed_server_comes_back_with_what_it_had(hub: StandInHub, api: HfApi, after: bool) -> None:
    hub.fault(lambda _, path, n: Fault("kill", after=after) if path.endswith("/commit/main") else None)
    with pytest.raises(httpx.TransportError):
        api.create_commit("me/thing", [CommitOperationAdd("a.txt", b"x")], commit_message="Add")
    with pytest.raises(httpx.ConnectError):
        answer(hub)
    hub.clear_faults()
    hub.start()
    assert ("a.txt" in api.list_repo_files("me/thing")) == after


def test_a_killed_server_leaves_nobody_waiting(hub: StandInHub) -> None:
    """One who connects in the moment of the end is accepted, or not; in neither case does the line stay open."""
    port = int(hub.url.rpartition(":")[2])
    asked = b"GET /api/whoami-v2 HTTP/1.1\r\nHost: hub\r\n\r\n"
    known, late = socket.create_connection(("127.0.0.1", port)), socket.socket()

    def match(method: str, path: str, n: int) -> Fault | None:
        if n > 1:
            return Fault("kill")
        known.sendall(asked)  # The server sees both at once, and this one first.
        late.connect(("127.0.0.1", port))
        late.sendall(asked)
        return None

    hub.fault(match)
    answer(hub)
    for line in (known, late):
        with line:
            line.settimeout(20)
            with suppress(ConnectionError):
                assert line.recv(1) == b""


@pytest.mark.usefixtures("impatient")
def test_bytes_that_do_not_arrive_whole_are_not_kept(hub: StandInHub, api: HfApi) -> None:
    data = bytes(range(256)) * 10_000
    hub.fault(lambda method, path, n: Fault("reset") if method == "PUT" and path.endswith("/3") else None)
    with pytest.raises(RuntimeError):
        api.upload_file(path_or_fileobj=data, path_in_repo="x.safetensors", repo_id="me/thing")
    assert len(hub.repo("me/thing").commits) == 1
    assert not hub.repo("me/thing").has_large(hashlib.sha256(data).hexdigest())
    hub.clear_faults()
    api.upload_file(path_or_fileobj=data, path_in_repo="x.safetensors", repo_id="me/thing")
    assert hub.repo("me/thing").files()["x.safetensors"] == data


@pytest.mark.usefixtures("impatient")
def test_a_truncated_download_is_finished_by_the_client(
    hub: StandInHub, api: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1000)
    data = bytes(range(256)) * 2_000
    api.upload_file(path_or_fileobj=data, path_in_repo="x.safetensors", repo_id="me/thing")
    cut: list[str] = []

    def first_time(method: str, path: str, n: int) -> Fault | None:
        if method == "GET" and path.startswith("/storage/") and not cut:
            cut.append(path)
            return Fault("truncate")
        return None

    hub.fault(first_time)
    assert Path(api.hf_hub_download("me/thing", "x.safetensors", cache_dir=tmp_path)).read_bytes() == data
    assert len(cut) == 1
    assert [status for _, path, status in hub.requests if path == cut[0]] == [200, 200, 206]
