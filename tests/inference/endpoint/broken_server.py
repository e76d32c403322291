"""A server that answers with the bytes it is told to, and then hangs up, or keeps silent."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any


def page(status: int, kind: str, body: str | bytes, *headers: str) -> bytes:
    """A whole answer."""
    body = body.encode() if isinstance(body, str) else body
    head = [
        f"HTTP/1.1 {status} X",
        f"Content-Type: {kind}",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def stream_head(*headers: str) -> bytes:
    """The beginning of a stream of unknown length in chunks."""
    head = ["HTTP/1.1 200 OK", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", *headers]
    return "\r\n".join([*head, "", ""]).encode()


def piece(text: str) -> bytes:
    """One chunk of a stream."""
    body = text.encode()
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


class BrokenServer:
    """Takes connections one after the other; each request is answered with the next of `answers`, then the last again.

    Args:
        answers: bytes, or a list of pieces: bytes, or seconds to wait.
        info: answer GET with what TGI says about itself; otherwise a GET is answered as all else is.
    """

    def __init__(self, *answers: Any, info: bool = True) -> None:
        self._answers = list(answers)
        self._info = info
        self._ended = threading.Event()
        self.asked = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> BrokenServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._socket.close()
        self._thread.join(10)

    def _run(self) -> None:
        self._socket.settimeout(0.05)
        while not self._ended.is_set():
            try:
                line, _ = self._socket.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line:
            try:
                line.settimeout(5)
                head = self._read(line)
                if self._info and head.startswith(b"GET"):
                    line.sendall(
                        page(200, "application/json", '{"model_id": "org/broken", "max_total_tokens": 100}')
                    )
                    return
                answer = self._answers[min(self.asked, len(self._answers) - 1)]
                self.asked += 1
                for part in answer if isinstance(answer, list) else [answer]:
                    if isinstance(part, (int, float)):
                        until = time.monotonic() + part
                        while time.monotonic() < until and not self._ended.is_set():
                            time.sleep(0.02)
                    else:
                        line.sendall(part)
            except OSError:
                pass

    def _read(self, line: socket.socket) -> bytes:
        got = b""
        while b"\r\n\r\n" not in got:
            new = line.recv(65536)
            if not new:
                return got
            got += new
        head, _, body = got.partition(b"\r\n\r\n")
        length = next(
            (
                int(row.split(b":")[1])
                for row in head.lower().split(b"\r\n")
                if row.startswith(b"content-length:")
            ),
            0,
        )
        while len(body) < length and (new := line.recv(65536)):
            body += new
        return head
