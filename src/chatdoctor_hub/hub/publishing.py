"""`publish`: from a checked folder to the Hub, in an order in which nothing unverified is ever public."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import HubConflictError, HubUnreachableError, PublishError
from chatdoctor_hub.hub.committing import Committed, check_tree, commit, merge_request
from chatdoctor_hub.hub.contents import RepoType
from chatdoctor_hub.hub.planning import PublishPlan, make_plan
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.settings import Gate, Settings
from chatdoctor_hub.hub.staging import staged, tidy
from chatdoctor_hub.hub.stored import Stored, read_stored
from chatdoctor_hub.hub.verifying import VerifyReport, verify_at

__all__ = ["Confirm", "PublishedRelease", "carry_out", "publish"]

Confirm = Callable[[PublishPlan], bool]
OnStep = Callable[[str], None]
_VERIFYING = "Verifying: downloading, comparing, loading, asking"


@dataclass(frozen=True)
class PublishedRelease:
    """What is on the Hub now.

    Args:
        repo: id.
        type: "model" or "dataset".
        commit: the sha of the files.
        tag: that names it, None for none.
        url: of the repository, or of the pull request.
        changed: whether a commit was made, or merged; False where all was there already.
        public: whether everybody sees it.
        verified: what was looked at.
        pull_request: its number, 0 for none or a merged one.
    """

    repo: str
    type: RepoType
    commit: str
    tag: str | None
    url: str
    changed: bool
    public: bool
    verified: VerifyReport
    pull_request: int = 0

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)


def publish(
    folder: str | Path,
    repo_id: str,
    *,
    type: RepoType | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
    public: bool = False,
    gated: Gate | None = None,
    tag: str | None = None,
    collection: str | None = None,
    pr: bool = False,
    merge: bool = False,
    revision: str = "main",
    accept: Collection[str] = (),
    ask: bool = True,
    confirm: Confirm | None = None,
    on_step: OnStep | None = None,
) -> PublishedRelease:
    """Publish a release or a corpus; the same call again completes what was interrupted, and else changes nothing.

    The folder is checked and searched for secrets, identifiers and pickles; a new repository is made private; all
    changes are one commit on top of what was there, which is downloaded, compared, loaded and asked a question; gate,
    tag and collection follow, and only then is it public. Where something is published already, that commit is made
    on a branch of its own ("chatdoctor-publish"), and the one that people use moves when it is verified.

    Args:
        folder: what `prepare_release` or `build_corpus` wrote.
        repo_id: "me/my-model"; without "me/", one's own.
        type: "model" or "dataset"; by default what the folder is.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default; False for none.
        public: to be seen by everybody; False leaves a repository as it is, and makes a new one private.
        gated: "auto", "manual" or False; None leaves it as it is.
        tag: for the commit, such as "v1".
        collection: slug of a collection, or the title of one of one's own.
        pr: open a pull request and change nothing else.
        merge: merge that pull request once it is verified.
        revision: branch to publish to.
        accept: concerns to pass over, by their kinds; see `Settings`.
        ask: load the weights and ask the model a question, to verify it. Without that a model may not be shown to
            everybody (accept: "unasked"), unless torch, transformers or peft is not installed.
        confirm: shown the plan before anything is sent; False ends it. By default it goes ahead.
        on_step: told what is being done, in a few words.

    Raises:
        ReleaseError, DataError, PromptError: when the folder has gaps; nothing was asked of the Hub then.
        ConfigError: for settings that do not go together.
        PublishError: when the folder must not go up, or not to everybody, or it was not confirmed, or what came back
            from the Hub is not good.
        ModelError, GenerationError: when it cannot be loaded, or cannot answer.
        HubConflictError: when another commit came first, or the name or the tag is taken.
        HubError: or another of its kinds.
    """
    session = Session(endpoint, token)
    settings = Settings(public, gated, tag, collection, pr, merge, revision, frozenset(accept), ask)
    plan = make_plan(folder, repo_id, type, settings, session)
    plan.check()
    if confirm is not None and not confirm(plan):
        raise PublishError(f"{plan.repo}: expected a yes, found none; nothing was sent.")
    return carry_out(session, plan, on_step=on_step)


def carry_out(session: Session, plan: PublishPlan, *, on_step: OnStep | None = None) -> PublishedRelease:
    """Do what a plan says; see `publish`."""
    told = on_step or (lambda step: None)
    stored = plan.stored or _created(session, plan, told)
    if not plan.settings.pr:
        tidy(session, plan, stored)
    if not plan.is_changed:
        told("All files are there; verifying them")
        made = Committed(stored.head, False, plan.settings.revision)
        report = _look(session, plan, made)
    else:
        told(f"Sending {plan.upload_bytes / 1e6:,.1f} MB")
        make = _by_request if plan.settings.pr else _directly if _is_nobodys(stored) else _by_a_branch
        made, report = make(session, plan, stored, told)
    if not made.number:
        _arrange(session, plan, made, stored, told)
        if plan.settings.public and stored.private:
            told("Making it public")
            session.ask(
                f"the visibility of {plan.repo}",
                lambda: session.api.update_repo_settings(plan.repo, private=False, repo_type=plan.type),
            )
    return PublishedRelease(
        repo=plan.repo,
        type=plan.type,
        commit=made.oid,
        tag=None if made.number else plan.settings.tag,
        url=made.page or session.url(plan.repo, plan.type),
        changed=made.changed,
        public=plan.settings.public or not stored.private,
        verified=report,
        pull_request=made.number,
    )


def _look(session: Session, plan: PublishPlan, made: Committed) -> VerifyReport:
    return verify_at(
        session,
        plan.repo,
        plan.type,
        made.oid,
        revision=made.revision,
        contents=plan.contents,
        ask=plan.settings.ask,
    )


def _is_nobodys(stored: Stored) -> bool:
    """Whether nobody can be using what is there: it is empty, and private."""
    return stored.private and stored.is_empty


def _directly(
    session: Session, plan: PublishPlan, stored: Stored, told: OnStep
) -> tuple[Committed, VerifyReport]:
    made = commit(session, plan, stored)
    told(_VERIFYING)
    return made, _look(session, plan, made)


def _by_a_branch(
    session: Session, plan: PublishPlan, stored: Stored, told: OnStep
) -> tuple[Committed, VerifyReport]:
    """A commit on a branch of its own, and the same one where people look only when that is verified."""
    with staged(session, plan, stored) as branch:
        first = commit(session, plan, stored, branch=branch)
        told(_VERIFYING)
        report = _look(session, plan, first)
        told(f"Moving {plan.settings.revision}")
        made = commit(session, plan, stored)  # the large files are there
        check_tree(session, plan, first.oid, made.oid)
    return made, replace(report, commit=made.oid, revision=made.revision)


def _by_request(
    session: Session, plan: PublishPlan, stored: Stored, told: OnStep
) -> tuple[Committed, VerifyReport]:
    made = commit(session, plan, stored, pr=True)
    told(_VERIFYING)
    report = _look(session, plan, made)
    if not plan.settings.merge:
        return made, report
    told("Merging the pull request")
    merged = merge_request(session, plan, made, stored)
    check_tree(session, plan, made.oid, merged)
    made = Committed(merged, True, plan.settings.revision)
    return made, replace(report, commit=made.oid, revision=made.revision)


def _created(session: Session, plan: PublishPlan, told: OnStep) -> Stored:
    told("Making a private repository")
    session.ask(
        plan.repo,
        lambda: session.api.create_repo(plan.repo, private=True, repo_type=plan.type, exist_ok=True),
    )
    stored = read_stored(session, plan.repo, plan.type)
    if stored is None:
        raise HubUnreachableError(
            f"{plan.repo}: expected the repository that was made, found none yet; publish again in a moment."
        )
    if not stored.private:
        raise HubConflictError(
            f"{plan.repo}: expected a new repository to be private, found a public one; somebody made it meanwhile, or "
            "the Hub makes all public: look at it, then publish again."
        )
    return stored


def _arrange(session: Session, plan: PublishPlan, made: Committed, stored: Stored, told: OnStep) -> None:
    """Gate, tag and collection; each may be done twice."""
    settings = plan.settings
    if settings.gated is not None and settings.gated != stored.gated:
        told(f"Gate: {settings.gated or 'none'}")
        session.ask(
            f"the gate of {plan.repo}",
            lambda: session.api.update_repo_settings(plan.repo, gated=settings.gated, repo_type=plan.type),
        )
    if settings.tag and stored.tags.get(settings.tag) != made.oid:
        told(f"Tag {settings.tag}")
        _tag(session, plan, made.oid, settings.tag)
    if settings.collection:
        told(f"Collection {settings.collection}")
        _collect(session, plan, settings.collection)


def _tag(session: Session, plan: PublishPlan, oid: str, tag: str) -> None:
    what = f"the tag {tag} of {plan.repo}"
    session.ask(
        what,
        lambda: session.api.create_tag(plan.repo, tag=tag, revision=oid, repo_type=plan.type, exist_ok=True),
    )
    refs = session.ask(what, lambda: session.api.list_repo_refs(plan.repo, repo_type=plan.type))
    found = {ref.name: ref.target_commit for ref in refs.tags}.get(tag)
    if found != oid:
        raise HubConflictError(
            f"{plan.repo}: expected the tag {tag} at {oid}, found it at {found}; choose another tag."
        )


def _collect(session: Session, plan: PublishPlan, wanted: str) -> None:
    """Put the repository into a collection, by its slug or by its title; one of that title is made."""
    api, what, owner = session.api, f"the collection {wanted}", plan.repo.partition("/")[0]
    slug = wanted
    if "/" not in wanted:
        listed = session.ask(what, lambda: list(api.list_collections(owner=owner)))
        slugs = [one.slug for one in listed if one.title == wanted]
        if slugs:
            slug = slugs[0]
        else:
            private = plan.visibility == "private"
            slug = session.ask(
                what,
                lambda: api.create_collection(wanted, namespace=owner, private=private, exists_ok=True),
            ).slug
    session.ask(what, lambda: api.add_collection_item(slug, plan.repo, plan.type, exists_ok=True))
