"""A stand-in of the Hub on the loopback, for one data set: its files, its commits, its card."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class StandIn:
    """What is served, and what was asked for."""

    def __init__(
        self, repository: str, files: dict[str, bytes], card: dict[str, object] | None = None
    ) -> None:
        self.repository = repository
        self.files = files
        self.card = card or {}
        self.asked: list[str] = []
        self.url = ""


@contextmanager
def serving(stand_in: StandIn) -> Iterator[StandIn]:
    """Serve it on a free port of 127.0.0.1 while the block lasts."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(with_body=True)

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def log_message(self, *_: object) -> None:
            pass

        def _answer(self, with_body: bool) -> None:
            path = unquote(urlsplit(self.path).path)
            stand_in.asked.append(f"{self.command} {path}")
            api = f"/api/datasets/{stand_in.repository}"
            files = f"/datasets/{stand_in.repository}/resolve/{COMMIT}/"
            path = path.replace("/resolve/main/", f"/resolve/{COMMIT}/").replace(
                "/resolve/v1/", f"/resolve/{COMMIT}/"
            )
            if path in (api, f"{api}/revision/main", f"{api}/revision/{COMMIT}", f"{api}/revision/v1"):
                info = {
                    "id": stand_in.repository,
                    "sha": COMMIT,
                    "siblings": [{"rfilename": name} for name in stand_in.files],
                    "cardData": stand_in.card,
                    "private": False,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                }
                self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, with_body)
            elif path.startswith(files) and path[len(files) :] in stand_in.files:
                data = stand_in.files[path[len(files) :]]
                etag = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X-Repo-Commit": COMMIT}
                self._send(200, data, etag, with_body)
            else:
                code = "RevisionNotFound" if path.startswith(api + "/revision") else "RepoNotFound"
                self._send(404, b"{}", {"X-Error-Code": code}, with_body)

        def _send(self, status: int, data: bytes, headers: dict[str, str], with_body: bool) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    stand_in.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
