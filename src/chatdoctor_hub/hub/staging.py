"""`staged`: a branch of its own for a commit that nobody has verified yet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from chatdoctor_hub.errors import HubError, HubNotFoundError
from chatdoctor_hub.hub.planning import PublishPlan
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.settings import STAGE
from chatdoctor_hub.hub.stored import Stored

__all__ = ["staged", "tidy"]


@contextmanager
def staged(session: Session, plan: PublishPlan, stored: Stored) -> Iterator[str]:
    """The name of a branch that starts where the real one is, and is gone afterwards, whatever happens.

    Raises:
        HubError: or one of its kinds.
    """
    session.ask(
        f"the branch {STAGE} of {plan.repo}",
        lambda: session.api.create_branch(
            plan.repo, branch=STAGE, revision=stored.head, repo_type=plan.type, exist_ok=True
        ),
    )
    try:
        yield STAGE
    except BaseException:
        # A Hub that is gone leaves the branch behind; the next publish takes it away.
        with suppress(HubError):
            session.once(plan.repo, lambda: _delete(session, plan))
        raise
    _drop(session, plan)


def tidy(session: Session, plan: PublishPlan, stored: Stored) -> None:
    """Take away the branch that an interrupted publish left behind.

    Raises:
        HubError: or one of its kinds.
    """
    if STAGE in stored.branches:
        _drop(session, plan)


def _drop(session: Session, plan: PublishPlan) -> None:
    # Not found: the answer to the first try got lost.
    with suppress(HubNotFoundError):
        session.ask(f"the branch {STAGE} of {plan.repo}", lambda: _delete(session, plan))


def _delete(session: Session, plan: PublishPlan) -> None:
    session.api.delete_branch(plan.repo, branch=STAGE, repo_type=plan.type)
