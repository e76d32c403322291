"""A server on this machine that answers as MediaWiki's API does, with pages written for the tests."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

CROUP = """Croup is an illness of small children in which the windpipe below the voice box swells. \
It begins like any cold, and the cough then turns harsh and barking.

== Signs ==
The cough sounds like that of a seal. It is worse at night, when the child lies flat.
A rough noise on breathing in is called stridor. Stridor at rest means that help is needed at once.


== Care ==


=== At home ===
Keep the child calm and upright, for crying narrows the windpipe further. Offer cool drinks often.


=== In hospital ===
One dose of dexamethasone by mouth shortens the illness. Mist of adrenaline is given when breathing is hard.


== References ==
A list of books that nobody reads.
"""

HEARTBURN = """Heartburn is a burning pain behind the breastbone that rises towards the throat.

== Causes ==
Acid from the stomach flows back into the gullet. Coffee, late meals and stooping make it worse.

== Care ==
Smaller meals help, and so does sleeping with the head of the bed raised. Antacids ease single bouts.
"""

SORE_THROAT = """A sore throat is pain or scratching in the throat that is worse on swallowing.

== Causes ==
Viruses cause most of them. Bacteria called streptococci cause some, more often in children.
"""


@dataclass
class WikiPage:
    text: str
    revision: int
    is_list: bool = False
    namespace: int = 0


PAGES = {
    "Croup": WikiPage(CROUP, 1001),
    "Heartburn": WikiPage(HEARTBURN, 2002),
    "Sore throat": WikiPage(SORE_THROAT, 3003),
    "Barking": WikiPage(
        "Barking may refer to:\na cough of small children\nthe noise of a seal", 4004, is_list=True
    ),
}
REDIRECTS = {"Acid reflux": "Heartburn", "Laryngotracheitis": "Croup"}

Fault = Callable[["_Answering"], None]


@dataclass
class StandIn:
    """The server, what it holds, and what it was asked.

    Args:
        faults: what befalls the next requests, one each; when there is none left, they are answered.
    """

    pages: dict[str, WikiPage] = field(
        default_factory=lambda: {k: WikiPage(**vars(v)) for k, v in PAGES.items()}
    )
    redirects: dict[str, str] = field(default_factory=lambda: dict(REDIRECTS))
    asked: list[dict[str, str]] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    endpoint: str = ""
    most_at_once: int = 0
    at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def kinds(self) -> list[str]:
        return [asked.get("list") or asked["prop"] for asked in self.asked]

    def answer(self, asked: dict[str, str]) -> dict[str, Any]:
        if asked.get("list") == "search":
            return {"batchcomplete": "", "query": self._search(asked["srsearch"], int(asked["srlimit"]))}
        return {"batchcomplete": "", "query": self._pages(asked)}

    def _search(self, words: str, limit: int) -> dict[str, Any]:
        terms = [word.lower() for word in re.findall(r"\w+", words) if word != "OR"]
        enough = any if " OR " in words else all
        counts = {
            title: sum(len(re.findall(rf"\b{term}", f"{title} {page.text}".lower())) for term in terms)
            for title, page in self.pages.items()
            if enough(re.search(rf"\b{term}", f"{title} {page.text}".lower()) for term in terms)
        }
        found = sorted(counts, key=lambda title: (-counts[title], title))[:limit]
        hits = [{"ns": 0, "title": title, "pageid": self._id(title), "snippet": ""} for title in found]
        return {"searchinfo": {"totalhits": len(found)}, "search": hits}

    def _pages(self, asked: dict[str, str]) -> dict[str, Any]:
        query: dict[str, Any] = {"pages": {}}
        for number, given in enumerate(asked["titles"].split("|"), 1):
            title = given.replace("_", " ").strip()
            title = title[:1].upper() + title[1:]
            if title != given:
                query.setdefault("normalized", []).append({"from": given, "to": title})
            if title in self.redirects:
                query.setdefault("redirects", []).append({"from": title, "to": self.redirects[title]})
                title = self.redirects[title]
            page = self.pages.get(title)
            if page is None:
                query["pages"][str(-number)] = {"ns": 0, "title": title, "missing": ""}
            else:
                query["pages"][str(self._id(title))] = self._entry(title, page, asked["prop"].split("|"))
        return query

    def _entry(self, title: str, page: WikiPage, props: list[str]) -> dict[str, Any]:
        entry: dict[str, Any] = {"pageid": self._id(title), "ns": page.namespace, "title": title}
        if "info" in props:
            entry["lastrevid"] = page.revision
            entry["canonicalurl"] = f"https://wiki.invalid/wiki/{title.replace(' ', '_')}"
        if "extracts" in props:
            entry["extract"] = page.text
        if "pageprops" in props and page.is_list:
            entry["pageprops"] = {"disambiguation": ""}
        return entry

    def _id(self, title: str) -> int:
        return 100 + sorted(self.pages).index(title)


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    @property
    def wiki(self) -> StandIn:
        return self.server.wiki  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        wiki = self.wiki
        with wiki.lock:
            wiki.at_once += 1
            wiki.most_at_once = max(wiki.most_at_once, wiki.at_once)
            wiki.asked.append(dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)))
            wiki.agents.append(self.headers.get("User-Agent", ""))
            wiki.times.append(time.monotonic())
            fault = wiki.faults.pop(0) if wiki.faults else None
        try:
            if fault:
                fault(self)
            else:
                self.say(json.dumps(wiki.answer(wiki.asked[-1])).encode())
        finally:
            with wiki.lock:
                wiki.at_once -= 1

    def say(
        self,
        body: bytes,
        status: int = 200,
        kind: str = "application/json",
        length: int | None = None,
        **more: str,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in more.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Clients that give up are part of the tests."""


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """The server, until the block ends."""
    server = _Server(("127.0.0.1", 0), _Answering)
    server.daemon_threads = True
    server.wiki = wiki = StandIn()  # type: ignore[attr-defined]
    wiki.endpoint = f"http://127.0.0.1:{server.server_port}/w/api.php"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield wiki
    finally:
        server.shutdown()
        server.server_close()


def status(code: int, **headers: str) -> Fault:
    return lambda request: request.say(b"{}", code, **headers)


def body(text: bytes, kind: str = "application/json", **headers: str) -> Fault:
    return lambda request: request.say(text, kind=kind, **headers)


def api_error(code: str, info: str = "", **headers: str) -> Fault:
    return body(json.dumps({"error": {"code": code, "info": info}}).encode(), **headers)


def truncated(request: _Answering) -> None:
    request.say(b'{"query": {"sea', length=4000)
    request.close_connection = True


def slow(seconds: float) -> Fault:
    return lambda request: time.sleep(seconds)


def dripping(request: _Answering) -> None:
    """A byte now and then, so that no single wait is long."""
    request.say(b"{", length=1000)
    for _ in range(40):
        time.sleep(0.05)
        try:
            request.wfile.write(b" ")
            request.wfile.flush()
        except OSError:
            break
    request.close_connection = True
