"""Against a server on the loopback that speaks as much of the Hub's protocol as huggingface_hub needs."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "abcdefabcdefabcdefabcdefabcdefabcdefabcd"
CSV = b"disease,Symptom\nOddpox,\"['Spots', 'Fever']\"\nBroken,[\n"
JSONL = b'{"disease": "Evenpox", "Symptom": ["Stripes"]}\n'


class Hub(BaseHTTPRequestHandler):
    """Data sets `ORG/NAME` with their files, all at one commit, which is also "main" and "v1"."""

    sets: dict[str, dict[str, bytes]]
    asked: list[str]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "datasets"]:
            files = self.sets.get("/".join(parts[2:4]))
            if files is None:
                return self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
            if len(parts) > 4 and parts[5] not in ("main", "v1", COMMIT):
                return self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            info = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": n} for n in files]}
            return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})
        files = self.sets.get("/".join(parts[1:3]))
        if files is None:
            return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        if parts[4] not in ("main", "v1", COMMIT):
            return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        data = files.get("/".join(parts[5:]))
        if data is None:
            return self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        etag = hashlib.sha1(data).hexdigest()
        return self._send(200, data, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data)


@contextmanager
def serving(sets: dict[str, dict[str, bytes]]) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Handler", (Hub,), {"sets": sets, "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


SETS = {
    "org/one": {"README.md": b"# x", "data/diseases.csv": CSV, "more.jsonl": JSONL},
    "org/lines": {"table.jsonl": JSONL, "notes.txt": b"x"},
    "org/several": {"a.csv": CSV, "b.csv": CSV},
    "org/none": {"README.md": b"# x"},
}
# Calls follow one another in one process: the Hub's client takes seconds to import.
CODE = """
import json, sys
from chatdoctor_hub.errors import ChatDoctorError
from chatdoctor_hub.knowledge import DiseaseTable
for call in json.loads(sys.argv[1]):
    try:
        table = DiseaseTable.from_hub(call.pop("repo"), **call)
        found = [table.source, [d.name for d in table], [str(p) for p in table.problems], table[0].source]
    except ChatDoctorError as error:
        found = [type(error).__name__, str(error)]
    print("FOUND", json.dumps(found))
"""


def ask(endpoint: str, cache: Path, *calls: dict[str, object], offline: bool = False) -> list[list[object]]:
    """What `from_hub` gives for each call, in a process with that endpoint and cache."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_OFFLINE": str(int(offline))}
    ended = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(calls)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
        timeout=120,
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("FOUND ")]
    assert len(lines) == len(calls), ended.stderr
    return [json.loads(line.removeprefix("FOUND ")) for line in lines]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def answers(cache: Path) -> dict[str, list[object]]:
    """One process asks everything that needs the server."""
    calls: dict[str, dict[str, object]] = {
        "only csv": {"repo": "org/one"},
        "named": {"repo": "org/one", "filename": "more.jsonl", "revision": "v1"},
        "only lines": {"repo": "org/lines", "revision": COMMIT},
        "several": {"repo": "org/several"},
        "one of several": {"repo": "org/several", "filename": "b.csv"},
        "none": {"repo": "org/none"},
        "no set": {"repo": "org/unknown"},
        "no set, named": {"repo": "org/unknown", "filename": "a.csv"},
        "no file": {"repo": "org/one", "filename": "gone.csv"},
        "no revision": {"repo": "org/one", "revision": "v9"},
        "no revision, named": {"repo": "org/one", "filename": "data/diseases.csv", "revision": "v9"},
        "ending": {"repo": "org/one", "filename": "README.md"},
        "no name": {"repo": "not a name/at/all"},
        "strict": {"repo": "org/one", "strict": True},
    }
    with serving(SETS) as (endpoint, _):
        return dict(zip(calls, ask(endpoint, cache, *calls.values()), strict=True))


def test_the_only_csv_is_read_with_its_commit(answers: dict[str, list[object]]) -> None:
    source = f"org/one@{COMMIT}/data/diseases.csv"
    problem = "line 3: column 'Symptom': expected ] at the end of the list, found the end of the cell"
    assert answers["only csv"] == [source, ["Oddpox"], [problem], source]


def test_a_file_and_a_revision_may_be_named(answers: dict[str, list[object]]) -> None:
    source = f"org/one@{COMMIT}/more.jsonl"
    assert answers["named"] == [source, ["Evenpox"], [], source]
    assert answers["only lines"][0] == f"org/lines@{COMMIT}/table.jsonl"
    assert answers["one of several"][0] == f"org/several@{COMMIT}/b.csv"


@pytest.mark.parametrize(
    ("case", "kind", "part"),
    [
        (
            "several",
            "ConfigError",
            "Expected one table in the data set 'org/several', found 2: a.csv, b.csv; name",
        ),
        ("none", "DataFormatError", "in the data set 'org/none', found none"),
        ("no set", "DataNotFoundError", "the Hub knows no data set of that name"),
        ("no set, named", "DataNotFoundError", "the Hub knows no data set of that name"),
        (
            "no file",
            "DataNotFoundError",
            "Expected the file 'gone.csv' of the data set 'org/one' on the Hub, found",
        ),
        ("no file", "DataNotFoundError", "it has no such file"),
        ("no revision", "DataNotFoundError", "the Hub does not know that revision"),
        ("no revision, named", "DataNotFoundError", "the Hub does not know that revision"),
        ("ending", "DataFormatError", "found 'README.md'; name another"),
        ("no name", "DataNotFoundError", "that is no name of a data set"),
        ("strict", "DataFormatError", "Expected every row of diseases.csv to be readable, found at line 3"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(
    answers: dict[str, list[object]], case: str, kind: str, part: str
) -> None:
    found, message = answers[case]
    assert found == kind
    assert part in str(message)
    assert "Traceback" not in str(message)
    assert len(str(message).splitlines()) == 1


def test_without_the_hub_the_cache_is_read(answers: dict[str, list[object]], cache: Path) -> None:
    gone = "http://127.0.0.1:9"
    calls: list[dict[str, object]] = [
        {"repo": "org/one", "filename": "data/diseases.csv"},
        {"repo": "org/lines", "revision": COMMIT},
        {"repo": "org/never", "filename": "a.csv"},
        {"repo": "org/never"},
    ]
    named, only, never, nothing = ask(gone, cache, *calls, offline=True)
    assert named == answers["only csv"]
    assert only == answers["only lines"]
    for kind, message in (never, nothing):
        assert kind == "DataNotFoundError"
        assert "and it is not in the cache" in str(message)


@pytest.mark.slow  # the Hub's client tries again and again
def test_a_hub_that_cannot_be_reached_is_said(tmp_path: Path) -> None:
    (found,) = ask("http://127.0.0.1:9", tmp_path, {"repo": "org/one", "filename": "a.csv"})
    assert found[0] == "DataNotFoundError"
    assert "the Hub cannot be reached" in str(found[1])
