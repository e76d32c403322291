"""How the stand-in says no: a status and the headers by which the clients tell one error from another."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse, Response


class RefusalError(Exception):
    """An answer that is an error; `code` becomes X-Error-Code, the message X-Error-Message."""

    def __init__(self, status: int, message: str, code: str = "", **body: Any) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.body = status, message, code, body
        self.headers: dict[str, str] = {}

    def response(self) -> Response:
        """The refusal as an HTTP answer."""
        headers = {"X-Error-Message": self.message, **self.headers}
        if self.code:
            headers["X-Error-Code"] = self.code
        return JSONResponse({"error": self.message, **self.body}, self.status, headers)


def no_such_repo(anonymous: bool) -> RefusalError:
    """What is not there, or not for these eyes: the Hub does not say which."""
    if anonymous:
        return RefusalError(401, "Invalid username or password.", "RepoNotFound")
    return RefusalError(404, "Repository not found", "RepoNotFound")


def no_such_revision(revision: str) -> RefusalError:
    return RefusalError(404, f"Invalid rev id: {revision}", "RevisionNotFound")


def no_such_entry(path: str, commit: str = "") -> RefusalError:
    refusal = RefusalError(404, f"Entry not found: {path}" if path else "Entry not found", "EntryNotFound")
    if commit:
        refusal.headers["X-Repo-Commit"] = commit
    return refusal
