"""`commit`: one commit, or one pull request, that is made whole, once, and on top of what was looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ChatDoctorError, HubConflictError, HubError, HubUnreachableError
from chatdoctor_hub.hub.contents import Contents
from chatdoctor_hub.hub.edits import commit_title
from chatdoctor_hub.hub.planning import PublishPlan
from chatdoctor_hub.hub.session import Session, is_lost, status_of
from chatdoctor_hub.hub.stored import Stored, StoredFile, files_at

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

__all__ = ["Committed", "check_tree", "commit", "head_of", "merge_request"]

_LOOKED_AT = 20  # open pull requests, the newest first


@dataclass(frozen=True)
class Committed:
    """Where the files are.

    Args:
        oid: the commit.
        changed: whether it was made now.
        revision: where it stands: the branch, or the reference of the pull request.
        number: of the pull request, 0 for none.
        page: of the pull request, "" for none.
    """

    oid: str
    changed: bool
    revision: str
    number: int = 0
    page: str = ""


def commit(
    session: Session, plan: PublishPlan, stored: Stored, *, branch: str | None = None, pr: bool = False
) -> Committed:
    """Send what is new, and make one commit of all changes; large files that are there are not sent again.

    An answer that got lost is looked for before anything is sent a second time.

    Args:
        session: to ask with.
        plan: what is to be done.
        stored: what is there.
        branch: that is at the same commit; the one of the plan by default.
        pr: make a pull request of it, and leave the branch.

    Raises:
        HubConflictError: when another commit came first; nothing was overwritten.
        HubError: or another of its kinds.
    """
    kind = _Request if pr else _Push
    attempt = kind(session, plan, stored, branch or plan.settings.revision)
    if (there := attempt.before()) is not None:
        return there
    try:
        made = session.ask(plan.repo, attempt.send)
    except HubError as error:
        if status_of(error) == 412 or is_lost(error):
            made = attempt.landed_after(error)
        else:
            raise
    return made


def head_of(session: Session, plan: PublishPlan, branch: str) -> str:
    """The commit that a branch is at now.

    Raises:
        HubError: or one of its kinds.
    """
    info = session.ask(
        plan.repo,
        lambda: session.api.repo_info(plan.repo, repo_type=plan.type, revision=branch),
    )
    return str(info.sha)


def merge_request(session: Session, plan: PublishPlan, made: Committed, stored: Stored) -> str:
    """Merge a pull request; the commit that the branch is at then.

    Raises:
        HubConflictError: when the branch has moved on in a way that does not go with it.
        HubError: or another of its kinds.
    """
    tried, branch = False, plan.settings.revision

    def merge() -> None:
        nonlocal tried
        if tried and head_of(session, plan, branch) != stored.head:
            return
        tried = True
        session.api.merge_pull_request(plan.repo, made.number, repo_type=plan.type)

    session.ask(f"pull request {made.number} of {plan.repo}", merge)
    head = head_of(session, plan, branch)
    if not _is_there(plan, files_at(session, plan.repo, plan.type, head)):
        raise HubConflictError(_moved(plan, branch, stored.head, head))
    return head


def check_tree(session: Session, plan: PublishPlan, verified: str, oid: str) -> None:
    """Refuse a commit whose files are not those of another, which was verified.

    Raises:
        HubConflictError: when they differ.
        HubError: or another of its kinds.
    """
    there, meant = (files_at(session, plan.repo, plan.type, one) for one in (oid, verified))
    if there != meant:
        name = min(path for path in {*there, *meant} if there.get(path) != meant.get(path))
        raise HubConflictError(
            f"{plan.repo}: expected {plan.settings.revision} at {oid} to hold what was verified at {verified}, found "
            f"another {name}, pushed meanwhile by somebody else; look at that commit, then publish again."
        )


def _is_there(plan: PublishPlan, files: Mapping[str, StoredFile]) -> bool:
    """Whether files are those of the plan, after it was carried out."""
    here = {file.path: file for file in plan.contents.files}
    gone = any(file.path in files for file in plan.files if file.state == "deleted")
    return not gone and all(
        path in files and files[path].is_same(file.size, file.sha256, file.git_sha1)
        for path, file in here.items()
    )


def _moved(plan: PublishPlan, branch: str, expected: str, found: str) -> str:
    return (
        f"{plan.repo}: expected {branch} at {expected}, found it at {found}, pushed meanwhile by "
        "somebody else; nothing was overwritten: look at that commit, then publish again."
    )


class _Push:
    """A commit on a branch."""

    def __init__(self, session: Session, plan: PublishPlan, stored: Stored, branch: str) -> None:
        self.session, self.plan, self.stored, self.branch = session, plan, stored, branch
        self.operations = _operations(plan)
        self.tried = False

    def before(self) -> Committed | None:
        return None

    def send(self) -> Committed:
        if self.tried and (landed := self.landed()) is not None:
            return landed
        self.tried = True
        made = self.session.api.create_commit(self.plan.repo, self.operations, **self.options())
        return self.committed(made)

    def options(self) -> dict[str, Any]:
        name = self.plan.contents.folder.resolve().name
        return {
            "commit_message": commit_title(name),
            "repo_type": self.plan.type,
            "revision": self.branch,
            "parent_commit": self.stored.head,
        }

    def committed(self, made: Any) -> Committed:
        return Committed(str(made.oid), True, self.branch)

    def landed(self) -> Committed | None:
        """The commit, when it was made although no answer came; None when the branch has not moved."""
        head = head_of(self.session, self.plan, self.branch)
        if head == self.stored.head:
            return None
        if _is_there(self.plan, files_at(self.session, self.plan.repo, self.plan.type, head)):
            return Committed(head, True, self.branch)
        raise HubConflictError(_moved(self.plan, self.branch, self.stored.head, head))

    def landed_after(self, error: HubError) -> Committed:
        try:
            landed = self.landed()
        except HubConflictError:
            raise
        except ChatDoctorError:
            raise error from error.__cause__
        if landed is None:
            if status_of(error) == 412:
                raise HubUnreachableError(
                    f"{self.plan.repo}: expected to commit onto {self.stored.head}, which is still the head, found it "
                    "refused as out of date (412); nothing was changed: do the same again."
                ) from error
            raise error from error.__cause__
        return landed


class _Request(_Push):
    """A pull request; one that holds the same already is taken."""

    def before(self) -> Committed | None:
        landed = self.landed()
        return landed and Committed(landed.oid, False, landed.revision, landed.number, landed.page)

    def options(self) -> dict[str, Any]:
        return {**super().options(), "revision": None, "create_pr": True}

    def committed(self, made: Any) -> Committed:
        return Committed(str(made.oid), True, str(made.pr_revision), int(made.pr_num), str(made.pr_url))

    def landed(self) -> Committed | None:
        plan, api = self.plan, self.session.api
        found = self.session.ask(
            plan.repo,
            lambda: list(
                api.get_repo_discussions(
                    plan.repo,
                    discussion_type="pull_request",
                    discussion_status="open",
                    repo_type=plan.type,
                )
            ),
        )
        for one in sorted(found, key=lambda one: -one.num)[:_LOOKED_AT]:
            revision = f"refs/pr/{one.num}"
            if _is_there(plan, files_at(self.session, plan.repo, plan.type, revision)):
                read: Callable[[], Any] = lambda revision=revision: api.repo_info(  # type: ignore[misc]  # noqa: E731
                    plan.repo, repo_type=plan.type, revision=revision
                )
                oid = str(self.session.ask(plan.repo, read).sha)
                page = f"{self.session.url(plan.repo, plan.type)}/discussions/{one.num}"
                return Committed(oid, True, revision, one.num, page)
        return None


def _operations(plan: PublishPlan) -> list[CommitOperationAdd | CommitOperationDelete]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    contents: Contents = plan.contents
    files = {file.path: file.file for file in contents.files}
    return [
        CommitOperationDelete(planned.path)
        if planned.state == "deleted"
        else CommitOperationAdd(planned.path, files[planned.path])
        for planned in plan.files
        if planned.state != "same"
    ]
