"""`fetch`: from the Hub to a checked folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chatdoctor_hub.errors import HubConflictError, HubNotFoundError, HubUnreachableError
from chatdoctor_hub.folders import replacing_folder
from chatdoctor_hub.hub.concerns import PICKLES
from chatdoctor_hub.hub.contents import CORPUS, RepoType
from chatdoctor_hub.hub.downloading import compare, download, exactly, room_on_disk, wanted
from chatdoctor_hub.hub.finding import check_id, find_commit
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.stored import files_at
from chatdoctor_hub.hub.verifying import check_folder_of, check_is_ours, in_place_of
from chatdoctor_hub.release.manifest import MANIFEST

__all__ = ["fetch"]


def fetch(
    repo_id: str,
    revision: str | None = None,
    *,
    out: str | os.PathLike[str] | None = None,
    type: RepoType | None = None,
    endpoint: str | None = None,
    token: str | bool | None = None,
) -> Path:
    """The folder of a release or a corpus from the Hub, whole and checked.

    Every file has the digest that the Hub gives for it, and the one of the record it came with; the prompt is the
    one that was released. Pickles are not downloaded.

    Args:
        repo_id: "me/my-model".
        revision: branch, tag or commit; main by default.
        out: the folder to write; an earlier release or corpus there is replaced. By default the Hub's cache, where
            `ChatDoctor(model="me/my-model")` finds it; in offline mode what is there already is taken, and checked.
        type: "model" or "dataset"; by default whichever there is.
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: of the Hub; HF_TOKEN, or the one that was logged in with, by default; False for none.

    Raises:
        HubNotFoundError: when there is no such repository or revision, or it holds neither.
        HubAccessError: when this token is not let in.
        DownloadError: when what came is not what the Hub says it has.
        ReleaseError, PromptError, DataError: when it cannot be trusted.
        DiskSpaceError: when the disk is full.
        HubError: or another of its kinds.
    """
    from huggingface_hub import constants

    check_id(repo_id)
    session = Session(endpoint, token)
    if constants.HF_HUB_OFFLINE:
        return _from_cache(session, repo_id, revision, type, out)
    found, commit = find_commit(session, repo_id, revision, type)
    files = wanted(files_at(session, repo_id, found, commit))
    check_is_ours(repo_id, found, files.keys())
    if out is None:
        folder = _into_cache(session, repo_id, found, revision, list(files))
        if folder.name != commit:
            raise HubConflictError(
                f"{repo_id}: expected the commit {commit}, found {folder.name}, which was pushed meanwhile; "
                "fetch again."
            )
        with room_on_disk(folder, repo_id):
            compare(session, repo_id, found, commit, folder, files)
        check_folder_of(folder, found)
        return folder
    with _written(out, found, f"{repo_id}@{revision or commit}") as partial:
        download(session, repo_id, found, commit, partial, files)
    return Path(out)


@contextmanager
def _written(out: str | os.PathLike[str], type: RepoType, name: str) -> Iterator[Path]:
    """A new folder that takes the place of `out` when it is filled and checked."""
    what, marker = ("release", MANIFEST) if type == "model" else ("corpus", CORPUS)
    with replacing_folder(out, what=what, marker=marker) as partial:
        partial.mkdir(exist_ok=True)
        yield partial
        with in_place_of(partial, name):
            check_folder_of(partial, type)


def _into_cache(
    session: Session,
    repo: str,
    type: RepoType,
    revision: str | None,
    names: list[str],
    *,
    offline: bool = False,
) -> Path:
    """The snapshot in the Hub's cache; the name of the revision is kept there too, for `ChatDoctor(revision=…)`."""
    from huggingface_hub import constants

    with room_on_disk(Path(constants.HF_HUB_CACHE), repo):
        found = session.ask(
            repo,
            lambda: session.api.snapshot_download(
                repo,
                repo_type=type,
                revision=revision,
                allow_patterns=[exactly(name) for name in names] or None,
                # Offline the names are not known, and what is passed over is not missed.
                ignore_patterns=[".gitattributes", *(f"*{ending}" for ending in PICKLES)],
                local_files_only=offline,
            ),
        )
    return Path(found)


def _from_cache(
    session: Session,
    repo: str,
    revision: str | None,
    type: RepoType | None,
    out: str | os.PathLike[str] | None,
) -> Path:
    """What was fetched before, without a question to the Hub; copied to `out`, if that is given."""
    for kind in (type,) if type else ("model", "dataset"):
        try:
            folder = _into_cache(session, repo, kind, revision, [], offline=True)
        except HubNotFoundError:
            continue
        check_is_ours(repo, kind, [file.name for file in folder.iterdir()])
        if out is None:
            check_folder_of(folder, kind)
            return folder
        with (
            _written(out, kind, f"{repo}@{revision or folder.name}") as partial,
            room_on_disk(partial.parent, repo),
        ):
            shutil.copytree(folder, partial, dirs_exist_ok=True)
        return Path(out)
    raise HubUnreachableError(
        f"{repo}: expected it in the Hub's cache, as HF_HUB_OFFLINE is set, found none of that revision; unset it, or "
        "fetch it where there is a network."
    )
