"""`plan`: what a publish would do, file by file and setting by setting; nothing is sent but questions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from chatdoctor_hub.errors import HubConflictError, PublishError
from chatdoctor_hub.hub.asking import missing_to_ask
from chatdoctor_hub.hub.concerns import Concern, find_concerns, is_pickle_name
from chatdoctor_hub.hub.contents import Contents, LocalFile, RepoType, is_welcome, read_contents
from chatdoctor_hub.hub.edits import MADE_BY_THE_HUB
from chatdoctor_hub.hub.finding import check_endpoint, check_id
from chatdoctor_hub.hub.rights import read_account
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.settings import ACCEPTED, Gate, Settings
from chatdoctor_hub.hub.stored import Stored, StoredFile, read_stored

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = ["PlannedFile", "PublishPlan", "make_plan", "plan"]

State = Literal["new", "changed", "same", "deleted"]


@dataclass(frozen=True)
class PlannedFile:
    """A file of the repository, and what becomes of it.

    Args:
        path: its name there.
        size: in bytes; of what is there, for "deleted".
        state: "new", "changed", "same" or "deleted".
    """

    path: str
    size: int
    state: State


@dataclass(frozen=True)
class PublishPlan:
    """What a publish would do.

    Args:
        repo: id of the repository.
        endpoint: address of the Hub.
        contents: the folder.
        stored: what is there; None where the repository is not there yet.
        files: of both, by name.
        settings: what was asked for.
        concerns: what speaks against it, or is to be known.
        changes: the settings that would change, in words.
    """

    repo: str
    endpoint: str
    contents: Contents
    stored: Stored | None
    files: tuple[PlannedFile, ...]
    settings: Settings
    concerns: tuple[Concern, ...]
    changes: tuple[str, ...]

    @property
    def type(self) -> RepoType:
        """The kind of repository: "model" or "dataset"."""
        return self.contents.type

    @property
    def is_changed(self) -> bool:
        """Whether there is something to commit."""
        return any(file.state != "same" for file in self.files)

    @property
    def upload_bytes(self) -> int:
        """Bytes that are not there yet, at most; large files that the Hub knows already are not sent."""
        return sum(file.size for file in self.files if file.state in ("new", "changed"))

    @property
    def visibility(self) -> str:
        """What it will be in the end: "private" or "public"."""
        is_public = self.settings.public or (self.stored is not None and not self.stored.private)
        return "public" if is_public else "private"

    @property
    def obstacles(self) -> tuple[Concern, ...]:
        """The concerns that forbid it, but for those that were accepted."""
        weights = ("refused", "public") if self.visibility == "public" else ("refused",)
        return tuple(
            concern
            for concern in self.concerns
            if concern.weight in weights and concern.kind not in self.settings.accept
        )

    def check(self) -> None:
        """Refuse what must not go up, or not to everybody.

        Raises:
            PublishError: listing the reasons.
        """
        if not self.obstacles:
            return
        told = "; ".join(f"{one.where}: {one.what}" if one.where else one.what for one in self.obstacles)
        refused = any(one.weight == "refused" for one in self.obstacles)
        kinds = sorted({one.kind for one in self.obstacles})
        hint = f" To do it all the same, accept: {', '.join(kinds)}." if {*kinds} <= {*ACCEPTED} else ""
        what = "that may be uploaded" if refused else "that may be shown to everybody"
        raise PublishError(f"{self.contents.folder}: expected a folder {what}, found {told}.{hint}")

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        settings = {**asdict(self.settings), "accept": sorted(self.settings.accept)}
        return {
            "repo": self.repo,
            "type": self.type,
            "endpoint": self.endpoint,
            "exists": self.stored is not None,
            "head": self.stored.head if self.stored else None,
            "visibility": self.visibility,
            "settings": settings,
            "changes": list(self.changes),
            "commit": self.is_changed,
            "upload_bytes": self.upload_bytes,
            "files": [asdict(file) for file in self.files],
            "concerns": [concern.to_record() for concern in self.concerns],
            "allowed": not self.obstacles,
        }


def plan(
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
) -> PublishPlan:
    """What `publish` would do with the same arguments; nothing is sent but questions.

    Args:
        folder: a release or a corpus.
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
        ask: load the weights and ask the model a question, to verify it.

    Raises:
        ReleaseError, DataError, PromptError: when the folder has gaps; nothing was asked of the Hub then.
        ConfigError: for settings that do not go together.
        HubError: when the Hub does not let it be; see its kinds.
    """
    settings = Settings(public, gated, tag, collection, pr, merge, revision, frozenset(accept), ask)
    return make_plan(folder, repo_id, type, settings, Session(endpoint, token))


def make_plan(
    folder: str | Path, repo_id: str, type: RepoType | None, settings: Settings, session: Session
) -> PublishPlan:
    """`plan`, for a session that is there already."""
    settings.check()
    check_id(repo_id)
    check_endpoint(session)
    contents = read_contents(folder, type)
    account = read_account(session)
    repo = account.full_id(repo_id)
    stored = read_stored(session, repo, contents.type, settings.revision)
    account.check(session, repo, stored, pr=settings.pr)
    files = _files(contents, stored)
    is_changed = any(file.state != "same" for file in files)
    _check_tag(repo, stored, settings, is_changed)
    concerns = [*find_concerns(contents), *_of_answers(contents, stored, is_changed, settings)]
    if stored is not None:
        concerns += [*_of_edits(stored, files), *_of_what_stays(stored, files, settings)]
        if not stored.private and is_changed and not settings.public and not settings.pr:
            what = f"{repo} is public: what goes up is seen at once; ask for public, or open a pull request"
            concerns.append(Concern("visibility", "refused", "", what))
    return PublishPlan(
        repo=repo,
        endpoint=session.endpoint,
        contents=contents,
        stored=stored,
        files=files,
        settings=settings,
        concerns=tuple(concerns),
        changes=_changes(stored, settings),
    )


def _files(contents: Contents, stored: Stored | None) -> tuple[PlannedFile, ...]:
    there = stored.files if stored else {}
    here = {file.path: file for file in contents.files}
    found = [PlannedFile(path, file.size, _state(file, there.get(path))) for path, file in here.items()]
    if stored:
        gone = [path for path in stored.own if path in there and path not in here]
        found += [PlannedFile(path, there[path].size, "deleted") for path in gone]
    return tuple(sorted(found, key=lambda file: file.path))


def _state(file: LocalFile, there: StoredFile | None) -> State:
    if there is None:
        return "new"
    return "same" if there.is_same(file.size, file.sha256, file.git_sha1) else "changed"


def _of_answers(
    contents: Contents, stored: Stored | None, is_changed: bool, settings: Settings
) -> Iterator[Concern]:
    """What everybody sees was loaded before, unless that is accepted or cannot be done here."""
    is_seen = settings.public or (stored is not None and not stored.private)
    is_new = is_changed or stored is None or stored.private
    if contents.type != "model" or not is_seen or not is_new:
        return
    if missing := missing_to_ask():
        what = f"without {missing[0]} its weights are not loaded before others see them: pip install 'chatdoctor-hub[local]'"
        yield Concern("unasked", "note", "", what)
    elif not settings.ask:
        what = (
            "its weights are to be loaded and asked a question before others see them; do not leave that out"
        )
        yield Concern("unasked", "public", "", what)


def _of_edits(stored: Stored, files: tuple[PlannedFile, ...]) -> Iterator[Concern]:
    for file in files:
        if file.state != "same" and file.path in stored.edited:
            what = (
                f"was {'changed' if file.path in stored.files else 'removed'} on the Hub since it was published from "
                "here, which this would undo; take that over into the folder"
            )
            yield Concern("remote-edits", "refused", file.path, what)


def _of_what_stays(stored: Stored, files: tuple[PlannedFile, ...], settings: Settings) -> Iterator[Concern]:
    """Files that are on the Hub alone, and that no record there lists."""
    stays = sorted(stored.files.keys() - {file.path for file in files} - {MADE_BY_THE_HUB})
    for path in (path for path in stays if is_pickle_name(path)):
        yield Concern("pickles", "refused", path, "is on the Hub, a pickle by its name; delete it there")
    if others := [path for path in stays if not is_pickle_name(path)]:
        is_shown_first_now = settings.public and stored.private
        strange = is_shown_first_now and not all(map(is_welcome, others))
        what = f"on the Hub alone, and staying there: {', '.join(others)}; delete there what should go"
        yield Concern("staying", "public" if strange else "note", "", what)


def _check_tag(repo: str, stored: Stored | None, settings: Settings, is_changed: bool) -> None:
    if stored is None or settings.tag is None or settings.tag not in stored.tags:
        return
    tagged = stored.tags[settings.tag]
    if tagged != stored.head or is_changed:
        raise HubConflictError(
            f"{repo}: expected the tag {settings.tag} to be free, found it at {tagged}, another commit; choose "
            "another tag."
        )


def _changes(stored: Stored | None, settings: Settings) -> tuple[str, ...]:
    found = [] if stored else ["a new repository, private"]
    if settings.gated is not None and settings.gated != (stored.gated if stored else False):
        found.append(f"gated: {settings.gated or 'no longer'}")
    if settings.tag and not (stored and settings.tag in stored.tags):
        found.append(f"tag {settings.tag}")
    if settings.collection:
        found.append(f"in the collection {settings.collection}")
    if settings.pr:
        found.append("by a pull request" + (", merged once it is verified" if settings.merge else ""))
    if settings.public and (stored is None or stored.private):
        found.append("public, once it is verified")
    return tuple(found)
