"""Finding a repository's type and the commit that a revision stands for."""

from __future__ import annotations

from functools import partial
from urllib.parse import urlsplit

from chatdoctor_hub.errors import ConfigError, HubError, HubNotFoundError
from chatdoctor_hub.hub.contents import RepoType
from chatdoctor_hub.hub.session import Session

__all__ = ["check_endpoint", "check_id", "find_commit"]


def check_id(repo_id: str) -> None:
    """Refuse a name that no Hub takes, before it is asked.

    Raises:
        HubError: when it has bad characters or is too long.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        # Some versions of huggingface_hub let letters beyond ASCII pass.
        validate_repo_id(repo_id if repo_id.isascii() else "")
    except HFValidationError as error:
        raise HubError(
            "Expected a repo id such as 'me/my-model' (letters, digits, '-', '_' and '.', neither '--' nor '..', at "
            f"most 96 of them), found {repo_id!r}; choose another name."
        ) from error


def check_endpoint(session: Session) -> None:
    """Refuse an address that is none, before it is asked.

    Raises:
        ConfigError: when it is no web address.
    """
    try:
        address = urlsplit(session.endpoint)
        is_web = address.scheme in ("http", "https") and bool(address.hostname) and address.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise ConfigError(
            "Expected the address of a Hub such as 'https://hub.example.org' (HF_ENDPOINT), found "
            f"{session.endpoint!r}; correct it."
        )


def find_commit(
    session: Session, repo: str, revision: str | None = None, type: RepoType | None = None
) -> tuple[RepoType, str]:
    """The type of a repository and the commit of a revision.

    Args:
        session: to ask with.
        repo: id.
        revision: branch, tag or commit; main by default.
        type: that is meant; None takes a model, or else a data set.

    Raises:
        ConfigError: when the Hub's address is none.
        HubNotFoundError: when there is none, or only one of another type, or no such revision.
        HubError: or another of its kinds.
    """
    from huggingface_hub.errors import RevisionNotFoundError

    check_id(repo)
    check_endpoint(session)
    kinds: tuple[RepoType, ...] = ("dataset", "model") if type == "dataset" else ("model", "dataset")
    what = f"{repo} at {revision}" if revision else repo
    missing: list[HubNotFoundError] = []
    for kind in kinds:
        try:
            info = session.ask(what, partial(session.api.repo_info, repo, repo_type=kind, revision=revision))
        except HubNotFoundError as error:
            if isinstance(error.__cause__, RevisionNotFoundError) and kind == (type or kind):
                raise
            missing.append(error)
            continue
        if kind != (type or kind):
            raise HubNotFoundError(
                f"{repo}: expected a repository of type {type}, found one of type {kind}; name the type {kind}."
            )
        return kind, str(info.sha)
    raise missing[0]
