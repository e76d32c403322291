"""`Account`: who asks, and what may be written."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import HubAccessError, HubNotFoundError
from chatdoctor_hub.hub.contents import RepoType
from chatdoctor_hub.hub.finding import check_id
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.stored import Stored, read_stored

__all__ = ["Account", "check_writer", "read_account"]


@dataclass(frozen=True)
class Account:
    """Who a token belongs to.

    Args:
        name: of the user.
        role: of the token: "read", "write" or "fineGrained".
        organisations: the role in each: "read", "contributor", "write" or "admin".
    """

    name: str
    role: str
    organisations: Mapping[str, str]

    def full_id(self, repo_id: str) -> str:
        """A repo id with its namespace, one's own where none was given.

        Raises:
            HubError: for a name that the Hub does not take.
        """
        full = repo_id if "/" in repo_id else f"{self.name}/{repo_id}"
        check_id(full)
        return full

    def check(self, session: Session, repo: str, stored: Stored | None, *, pr: bool) -> None:
        """Refuse what this account may not write, before anything is sent.

        Args:
            session: of the account.
            repo: full id.
            stored: what is there.
            pr: only a pull request is meant, which others may open as well.

        Raises:
            HubAccessError: naming what is missing.
            HubNotFoundError: for a pull request to nothing.
        """
        if self.role == "read":
            raise HubAccessError(
                f"{repo}: expected a token with write rights, found one of {self.name} that may only read; make one "
                "with the role 'write', and give it with `hf auth login` or HF_TOKEN."
            )
        if pr and stored is None:
            raise HubNotFoundError(
                f"{repo}: expected a repository to open a pull request to, found none; publish it first, without one."
            )
        if pr:
            return
        owner = repo.partition("/")[0]
        role = "admin" if owner == self.name else self.organisations.get(owner)
        if role is None or (role == "read"):
            found = (
                f"that of {self.name}" if role is None else f"that of {self.name}, who may only read there"
            )
            raise HubAccessError(
                f"{repo}: expected a token of {owner}, found {found}; choose a name below your own"
                f"{' or open a pull request' if stored else ''}."
            )
        if stored is not None:
            # A Hub that cannot tell says that there is nothing; the commit will show.
            with suppress(HubNotFoundError):
                session.ask(repo, lambda: session.api.auth_check(repo, repo_type=stored.type, write=True))


def read_account(session: Session) -> Account:
    """Who the session's token belongs to.

    Raises:
        HubAccessError: without a token, or with one that the Hub does not know.
    """
    if session.token is None:
        raise HubAccessError(
            f"Expected a token for {session.endpoint}, found none; log in with `hf auth login`, or set HF_TOKEN."
        )
    try:
        found: dict[str, Any] = session.ask("your account", session.api.whoami)
    except HubAccessError as error:
        raise HubAccessError(
            f"Expected a token that {session.endpoint} knows, found another; log in again with `hf auth login`, or "
            "set HF_TOKEN."
        ) from error
    token = (found.get("auth") or {}).get("accessToken") or {}
    organisations = {
        str(one["name"]): str(one.get("roleInOrg") or "write") for one in found.get("orgs") or ()
    }
    return Account(str(found["name"]), str(token.get("role") or "write"), organisations)


def check_writer(session: Session, repo_id: str, type: RepoType) -> tuple[Account, str]:
    """Who the session's token belongs to, and the full id of what that account may write.

    Args:
        session: of the account.
        repo_id: with a namespace or without.
        type: that the repository has, or will have.

    Raises:
        HubAccessError: without a token, or when the account may not write there.
        HubConflictError: when the name is taken by something else.
        HubError: or another of its kinds.
    """
    account = read_account(session)
    repo = account.full_id(repo_id)
    account.check(session, repo, read_stored(session, repo, type), pr=False)
    return account, repo
