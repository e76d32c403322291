"""Users, organisations and access tokens of the stand-in Hub: who asks, and what may they do."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stand_in_refusal import RefusalError, no_such_repo
from stand_in_storage import StoredRepo, write_whole

ROLES = ("read", "write")
WRITING = ("write", "admin", "contributor")


@dataclass(frozen=True)
class Visitor:
    """Who sent a request: a user by a token, or nobody (`name` empty)."""

    name: str = ""
    role: str = ""
    organisations: tuple[tuple[str, str], ...] = ()

    @property
    def anonymous(self) -> bool:
        return not self.name

    def role_in(self, namespace: str) -> str:
        """`admin` in one's own namespace, the role in an organisation, or nothing."""
        if self.name and namespace == self.name:
            return "admin"
        return dict(self.organisations).get(namespace, "")


class Accounts:
    """Tokens and organisations, kept in one file so that a restarted server knows them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, Any] = {"tokens": {}, "organisations": {}}
        if path.exists():
            self._kept = json.loads(path.read_text())

    def token(self, user: str, role: str = "write") -> str:
        """A new token of a user; the user is made with it."""
        if role not in ROLES:
            raise ValueError(f"role must be one of {ROLES}, found {role!r}")
        token = "hf_" + secrets.token_hex(17)
        self._kept["tokens"][token] = {"user": user, "role": role}
        self._keep()
        return token

    def revoke(self, token: str) -> None:
        """Make a token worthless from now on."""
        del self._kept["tokens"][token]
        self._keep()

    def organisation(self, name: str, members: dict[str, str]) -> None:
        """An organisation and the role of each member: read, contributor, write or admin."""
        self._kept["organisations"][name] = dict(members)
        self._keep()

    def visitor(self, authorization: str) -> Visitor:
        """Who a request comes from. Raises: RefusalError (401) for a token that is not known."""
        if not authorization:
            return Visitor()
        token = authorization.removeprefix("Bearer ")
        entry = self._kept["tokens"].get(token)
        if entry is None:
            raise RefusalError(401, "Invalid credentials in Authorization header")
        user = entry["user"]
        member = tuple(
            (name, roles[user]) for name, roles in self._kept["organisations"].items() if user in roles
        )
        return Visitor(user, entry["role"], member)

    def has_namespace(self, name: str) -> bool:
        users = {entry["user"] for entry in self._kept["tokens"].values()}
        return name in users or name in self._kept["organisations"]

    def _keep(self) -> None:
        write_whole(self._path, json.dumps(self._kept, indent=1).encode())


def check_known(who: Visitor) -> None:
    """Somebody must have asked. Raises: RefusalError (401)."""
    if who.anonymous:
        raise RefusalError(401, "Invalid username or password.")


def check_namespace(who: Visitor, namespace: str) -> None:
    """Repositories and collections are made in one's own namespaces. Raises: RefusalError (401, 403)."""
    check_known(who)
    if who.role_in(namespace) not in WRITING:
        raise RefusalError(
            403, f'You don\'t have the rights to create a repo under the namespace "{namespace}"'
        )
    check_token_writes(who)


def check_token_writes(who: Visitor) -> None:
    """Raises: RefusalError (403) for a token of role `read`."""
    if who.role != "write":
        raise RefusalError(403, "Forbidden: you must use a write token to do this; this token has role read")


def check_visible(who: Visitor, repo: StoredRepo) -> None:
    """Raises: RefusalError (401, 404), the same as for what is not there, when the repository is another's private one."""
    if repo.private and not who.role_in(repo.namespace):
        raise no_such_repo(who.anonymous)


def check_readable(who: Visitor, repo: StoredRepo) -> None:
    """The files may be read. Raises: RefusalError (401 or 403, `GatedRepo`) on top of those of `check_visible`."""
    check_visible(who, repo)
    if not repo.gated or who.role_in(repo.namespace) or who.name in repo.accepted:
        return
    if who.anonymous:
        raise RefusalError(401, f"Access to {repo.kind} {repo.id} is restricted. Please log in.", "GatedRepo")
    raise RefusalError(403, f"Access to {repo.kind} {repo.id} is restricted: ask for access.", "GatedRepo")


def check_writable(who: Visitor, repo: StoredRepo) -> None:
    """Raises: RefusalError (401, 403, 404)."""
    check_visible(who, repo)
    check_known(who)
    if who.role_in(repo.namespace) not in WRITING:
        raise RefusalError(403, "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request")
    check_token_writes(who)
