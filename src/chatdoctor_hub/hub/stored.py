"""`Stored`: what a repository holds at one commit, as the Hub tells it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import HubConflictError, HubNotFoundError
from chatdoctor_hub.hub.contents import CARD, CORPUS, RepoType, listed_in
from chatdoctor_hub.hub.edits import MADE_BY_THE_HUB, edited_there
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.release.manifest import MANIFEST

__all__ = ["Stored", "StoredFile", "files_at", "read_stored"]


@dataclass(frozen=True)
class StoredFile:
    """A file of a repository.

    Args:
        size: in bytes.
        git_sha1: the id that git gives it; of a large file, to what stands in its place.
        sha256: of the content of a large file, "" for a small one.
    """

    size: int
    git_sha1: str
    sha256: str

    def is_same(self, size: int, sha256: str, git_sha1: str) -> bool:
        """Whether a file of that size and those digests has the same content."""
        return self.size == size and (self.sha256 == sha256 if self.sha256 else self.git_sha1 == git_sha1)


@dataclass(frozen=True)
class Stored:
    """A repository at the head of a branch.

    Args:
        type: "model" or "dataset".
        head: the commit.
        private: whether only its owners see it.
        gated: "auto", "manual" or False.
        tags: the commit of each tag.
        files: by name.
        own: names that the release or the corpus there lists as its own.
        edited: names of what people changed there since it was published.
        branches: the commit of each branch.
    """

    type: RepoType
    head: str
    private: bool
    gated: Any
    tags: Mapping[str, str]
    files: Mapping[str, StoredFile]
    own: frozenset[str]
    edited: frozenset[str]
    branches: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is there but what the Hub itself made."""
        return not self.files.keys() - {MADE_BY_THE_HUB}


def read_stored(session: Session, repo: str, type: RepoType, revision: str = "main") -> Stored | None:
    """What is there; None where the Hub has no such repository, or none that it shows.

    Raises:
        HubConflictError: when something is there that was not made by this library.
        HubNotFoundError: for a branch that is not there.
    """
    try:
        info = session.ask(repo, lambda: session.api.repo_info(repo, repo_type=type))
    except HubNotFoundError:
        if revision != "main":
            raise HubNotFoundError(
                f"{repo}: expected a repository with the branch {revision}, found no repository; publish to main first."
            ) from None
        return None
    refs = session.ask(repo, lambda: session.api.list_repo_refs(repo, repo_type=type))
    branches = {ref.name: ref.target_commit for ref in refs.branches}
    if revision not in branches:
        raise HubNotFoundError(
            f"{repo}: expected a branch {revision}, found {', '.join(sorted(branches)) or 'none'}; choose one of these, "
            "or make it on the Hub."
        )
    head = branches[revision]
    files = files_at(session, repo, type, head)
    return Stored(
        type=type,
        head=head,
        private=bool(info.private),
        gated=info.gated or False,
        tags={ref.name: ref.target_commit for ref in refs.tags},
        files=files,
        own=_own(session, repo, type, head, files),
        edited=edited_there(session, repo, type, head, files),
        branches=branches,
    )


def files_at(session: Session, repo: str, type: RepoType, revision: str) -> dict[str, StoredFile]:
    """The files of a repository at a revision, by name.

    Raises:
        HubError: or one of its kinds.
    """
    tree = session.ask(
        repo,
        lambda: list(session.api.list_repo_tree(repo, recursive=True, revision=revision, repo_type=type)),
    )
    found = {}
    for entry in tree:
        if (size := getattr(entry, "size", None)) is None:
            continue  # a folder
        large = getattr(entry, "lfs", None)
        sha256 = str(large["sha256"] if isinstance(large, dict) else large.sha256) if large else ""
        found[entry.path] = StoredFile(int(size), str(entry.blob_id), sha256)  # type: ignore[union-attr]
    return found


def _own(
    session: Session, repo: str, type: RepoType, head: str, files: Mapping[str, StoredFile]
) -> frozenset[str]:
    record = MANIFEST if type == "model" else CORPUS
    if record not in files:
        if strangers := sorted(files.keys() - {CARD, MADE_BY_THE_HUB}):
            raise HubConflictError(
                f"{repo}: expected a {'release' if type == 'model' else 'corpus'} of this library ({record}), or "
                f"nothing, found other files ({strangers[0]} among {len(strangers)}); choose another name."
            )
        return frozenset()
    with tempfile.TemporaryDirectory() as folder:
        path = session.ask(
            repo,
            lambda: session.api.hf_hub_download(
                repo, record, repo_type=type, revision=head, local_dir=folder
            ),
        )
        return listed_in(Path(path).read_text(encoding="utf-8", errors="replace"), type)
