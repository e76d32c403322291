"""A stand-in of the Hugging Face Hub on the loopback: a real HTTP server with its storage on disk.

The unmodified huggingface_hub, datasets, transformers, peft and `hf` talk to it through HF_ENDPOINT. Large files come
from another host name and port, as the Hub's do, with signed addresses.

    with StandInHub(folder) as hub:
        api = HfApi(endpoint=hub.url, token=hub.token("me"))
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import os
import socket
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

import stand_in_collections  # noqa: F401  (registers its addresses, as the next four do)
import stand_in_commits  # noqa: F401
import stand_in_files  # noqa: F401
import stand_in_jobs
import stand_in_repos  # noqa: F401
import stand_in_transfers  # noqa: F401
import uvicorn
from stand_in_accounts import Accounts
from stand_in_faults import Application, Fault, Faults, Match
from stand_in_storage import Storage, StoredRepo
from starlette.requests import Request
from uvicorn.protocols.http.h11_impl import H11Protocol


class StandInHub:
    """The server and what it keeps.

    Args:
        root: Folder of the storage; a hub of before is found again in it.
        xet: Large files go through Xet (hf_xet's local store) where the client can; else by LFS alone.
        multipart_above: LFS files of more bytes are uploaded in parts.
        part_size: Bytes of a part.

    Attributes:
        on_job: What a job does: from its specification to the lines that it logs, one by one, in a thread of its
            own; an exception makes it fail. The specification stays in `jobs[id].spec`.
        jobs: The jobs that were submitted.
        halted: Set while a fault has stopped the server.
        errors: Where the stand-in itself failed.
    """

    def __init__(
        self, root: Path, xet: bool = False, *, multipart_above: int = 1_000_000, part_size: int = 400_000
    ) -> None:
        self.root, self.xet = root, xet
        self.multipart_above, self.part_size = multipart_above, part_size
        self.storage = Storage(root / "storage")
        self.accounts = Accounts(root / "storage" / "accounts.json")
        self.faults = Faults()
        self.errors: list[str] = []
        self.on_job: stand_in_jobs.Work = lambda job: ("The job ran.",)
        self.jobs: dict[str, stand_in_jobs.Job] = {}
        self.connections: dict[tuple[Any, Any], Any] = {}
        self.halted = threading.Event()
        self._key = os.urandom(16)
        self._ports = (0, 0)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> StandInHub:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The value of HF_ENDPOINT."""
        return f"http://127.0.0.1:{self._ports[0]}"

    @property
    def storage_url(self) -> str:
        """The host of the large files: another name and another port."""
        return f"http://localhost:{self._ports[1]}"

    def check(self) -> None:
        """Raises: AssertionError when the stand-in itself stumbled over a request."""
        assert not self.errors, "the stand-in failed:\n" + "\n".join(self.errors)

    @property
    def requests(self) -> list[tuple[str, str, int]]:
        """Method, path and status of each request so far, in order of arrival; status 0 when no answer was sent."""
        return list(self.faults.log)

    def token(self, user: str, role: str = "write") -> str:
        """A new access token; role is read or write."""
        return self.accounts.token(user, role)

    def organisation(self, name: str, members: dict[str, str]) -> None:
        """An organisation with the role of each member: read, contributor, write or admin."""
        self.accounts.organisation(name, members)

    def repo(self, name: str, type: str = "model") -> StoredRepo:
        """What is stored of a repository."""
        return self.storage.repo(name, type)

    def bucket(self, name: str) -> dict[str, bytes]:
        """The files of a bucket."""
        return stand_in_jobs.bucket_files(self, name)

    def fault(self, match: Match) -> None:
        """Ask `match(method, path, n)` for a fault at each request; n counts from 1, from now."""
        self.faults.set(match)

    def fault_at(self, number: int, fault: Fault) -> None:
        """Let the n-th request from now go wrong (the next one is 1)."""
        self.faults.set(lambda method, path, n: fault if n == number else None)

    def clear_faults(self) -> None:
        """No more faults."""
        self.faults.clear()

    def environment(self, token: str | None = None) -> dict[str, str]:
        """The environment of a process that uses this hub and no other, with a home of its own."""
        drop = (
            "HF_",
            "HUGGING",
            "TRANSFORMERS_",
            "http_proxy",
            "https_proxy",
            "HTTP_PROXY",
            "HTTPS_PROXY",
            "ALL_PROXY",
        )
        found = {name: value for name, value in os.environ.items() if not name.startswith(drop)}
        found |= {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(self.root / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
        found |= {
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "HF_HUB_DISABLE_UPDATE_CHECK": "1",
            "OMP_NUM_THREADS": "1",
        }
        found |= {} if self.xet else {"HF_HUB_DISABLE_XET": "1"}
        return found | ({"HF_TOKEN": token} if token else {})

    def start(self) -> None:
        """Serve, on the same ports as before when it served before."""
        self.stop()
        self.halted.clear()
        sockets = [_listening(port) for port in self._ports]
        self._ports = (sockets[0].getsockname()[1], sockets[1].getsockname()[1])
        connections = self.connections

        class Protocol(H11Protocol):
            """Keeps each connection at hand, so that it can be broken."""

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                connections[(self.client, self.server)] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                connections.pop((self.client, self.server), None)

        config = uvicorn.Config(
            Application(self),
            http=Protocol,
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
        )
        self._server = _Server(config)
        serve = self._server.serve(sockets=sockets)
        self._thread = threading.Thread(target=asyncio.run, args=(serve,), name="stand-in-hub", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Serve no longer; the storage stays."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(timeout=10)
            assert not self._thread.is_alive(), "the stand-in does not stop"
            assert not self.connections, "a connection was left open"
            self._server = None

    async def halt(self) -> None:
        """Die in the middle of a request: every connection is reset, and nobody listens any longer."""
        server = self._server
        assert server is not None
        server.should_exit = server.force_exit = True
        await server.hang_up()
        self.halted.set()

    def signature(self, method: str, path: str) -> str:
        """What lets a request without a token in."""
        return hmac.new(self._key, f"{method} {path}".encode(), hashlib.sha256).hexdigest()

    def signed(self, method: str, path: str) -> str:
        """A signed address on the host of the files."""
        return f"{self.storage_url}/storage{path}?signature={self.signature(method, '/storage' + path)}"

    def is_signed(self, request: Request) -> bool:
        """Whether an address carries the right signature; whoever may GET may HEAD."""
        method = "GET" if request.method == "HEAD" else request.method
        expected = self.signature(method, request.scope["raw_path"].decode())
        return hmac.compare_digest(request.query_params.get("signature", ""), expected)

    def is_misplaced(self, request: Request) -> bool:
        """Whether a request for files came to the Hub's own port, or another one to that of the files."""
        return (request.scope["server"][1] == self._ports[1]) != request.url.path.startswith("/storage/")


_ROUNDS = 5
"""Of the loop, in which a connection that was just accepted is made known, and a broken one is closed."""


class _Server(uvicorn.Server):
    """Stops within a hundredth of a second: tests start and stop many."""

    async def main_loop(self) -> None:
        while not self.should_exit:
            await asyncio.sleep(0.01)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.hang_up()
        for listening in sockets or ():
            listening.close()

    async def hang_up(self) -> None:
        """Reset every connection, and listen no longer.

        In this order: asyncio accepts a connection in two steps, and leaves it open for ever, without a word to its
        client, when the listening server is closed between them (`Server._attach` fails).
        """
        loop = asyncio.get_running_loop()
        for server in self.servers:
            for listening in server.sockets:
                loop.remove_reader(listening.fileno())
        for _ in range(_ROUNDS):
            for connection in list(self.server_state.connections):
                connection.transport.abort()
            await asyncio.sleep(0)
        for server in self.servers:
            server.close()


def _listening(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(("127.0.0.1", port))
    found.listen(128)
    return found


__all__ = ["Fault", "StandInHub", "StoredRepo"]
