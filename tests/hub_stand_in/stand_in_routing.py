"""From an address to the function that answers it.

Addresses are taken apart as they were sent: a revision is one quoted segment (`refs%2Fpr%2F1`), which a router that
unquotes first would tear.
"""

from __future__ import annotations

import json
import re
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote

from stand_in_accounts import (
    Visitor,
    check_known,
    check_readable,
    check_token_writes,
    check_visible,
    check_writable,
)
from stand_in_refusal import RefusalError, no_such_repo
from stand_in_storage import KINDS, StoredRepo
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from stand_in_hub import StandInHub

PARTS = {
    "{T}": r"(?P<kinds>models|datasets|spaces)",
    "{prefix}": r"(?!api/|storage/)(?:(?P<kinds>datasets|spaces)/)?",
    "{id}": r"(?P<id>[^/]+/[^/]+?)",
    "{rev}": r"(?P<rev>[^/]+)",
    "{path}": r"(?P<path>.*)",
    "{name}": r"(?P<name>[^/]+)",
    "{number}": r"(?P<number>\d+)",
    "{sha}": r"(?P<sha>[0-9a-f]{64})",
}


@dataclass(frozen=True)
class Asked:
    """A request with what its address says."""

    hub: StandInHub
    request: Request
    parts: dict[str, str]
    body: bytes
    who: Visitor

    @property
    def kind(self) -> str:
        """model, dataset or space."""
        kinds = self.parts.get("kinds") or "models"
        return next(kind for kind, plural in KINDS.items() if plural == kinds)

    @property
    def json(self) -> dict[str, Any]:
        """The body. Raises: RefusalError (400) when it is no JSON object."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError:
            raise RefusalError(400, "Invalid JSON in the body") from None
        if not isinstance(value, dict):
            raise RefusalError(400, "The body must be a JSON object")
        return value

    @property
    def form(self) -> dict[str, list[str]]:
        """The body, form-encoded or JSON."""
        if "json" in self.request.headers.get("content-type", ""):
            return {key: [str(v) for v in value] if isinstance(value, list) else [str(value)]
                    for key, value in self.json.items()}  # fmt: skip
        return parse_qs(self.body.decode())

    def asks(self, name: str) -> bool:
        """A switch of the query."""
        return self.request.query_params.get(name, "").lower() in ("1", "true")

    def repo(self, access: str = "read") -> StoredRepo:
        """The repository of the address: `see` (its name and settings), `read` (its files) or `write`.

        Raises: RefusalError.
        """
        repo = self.hub.storage.repo(self.parts["id"], self.kind)
        if not repo.exists:
            self._lead_on()
            raise no_such_repo(self.who.anonymous)
        {"see": check_visible, "read": check_readable, "write": check_writable}[access](self.who, repo)
        return repo

    def repo_to_change(self, for_pr: bool = False) -> StoredRepo:
        """The repository of a commit; a pull request needs the right to read, and a token that may write."""
        if not (for_pr or self.asks("create_pr") or self.parts["rev"].startswith("refs/pr/")):
            return self.repo("write")
        repo = self.repo("read")
        check_known(self.who)
        check_token_writes(self.who)
        return repo

    def _lead_on(self) -> None:
        target = self.hub.storage.moved.get(f"{KINDS[self.kind]}/{self.parts['id']}")
        if target is not None:
            raise MovedError(self.request.scope["raw_path"].decode().replace(self.parts["id"], target, 1))


class MovedError(Exception):
    """The repository has another name now."""

    def response(self) -> Response:
        return RedirectResponse(str(self), 307)


Answer = Callable[[Asked], Response]
_table: list[tuple[str, re.Pattern[str], Answer]] = []


def answers(methods: str, address: str) -> Callable[[Answer], Answer]:
    """Register a function for an address; `methods` are split at spaces."""
    pattern = re.escape(address).replace(r"\{", "{").replace(r"\}", "}")
    for part, found in PARTS.items():
        pattern = pattern.replace(part, found)

    def register(answer: Answer) -> Answer:
        _table.extend((method, re.compile(pattern), answer) for method in methods.split())
        return answer

    return register


async def respond(hub: StandInHub, request: Request) -> Response:
    """Find the function for a request and let it answer; a RefusalError becomes an error answer."""
    path = request.scope["raw_path"].decode().split("?")[0]
    body = await request.body()
    try:
        who = hub.accounts.visitor(request.headers.get("authorization", ""))
        for method, pattern, answer in _table:
            if method == request.method and (match := pattern.fullmatch(path)):
                parts = {key: unquote(value) for key, value in match.groupdict().items() if value is not None}
                return answer(Asked(hub, request, parts, body, who))
        raise RefusalError(404, f"The stand-in has no answer to {request.method} {path}")
    except (RefusalError, MovedError) as stopped:
        return stopped.response()
    except Exception:  # noqa: BLE001
        hub.errors.append(f"{request.method} {path}\n{traceback.format_exc()}")
        return RefusalError(500, "The stand-in failed").response()
