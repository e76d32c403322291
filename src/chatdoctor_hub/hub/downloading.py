"""`download`: the files of one commit in a folder, each compared with the digest that the Hub gives for it."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from chatdoctor_hub.errors import DiskSpaceError, DownloadError
from chatdoctor_hub.hub.concerns import is_pickle_name
from chatdoctor_hub.hub.contents import RepoType
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.hub.stored import StoredFile

__all__ = ["compare", "download", "exactly", "room_on_disk", "wanted"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# hf_xet is written in Rust, whose errors carry their number in words.
_FULL_IN_WORDS = re.compile(rf"(?:os error|Errno) (?:{errno.ENOSPC}|{errno.EDQUOT}|{errno.EFBIG})\b")


def wanted(files: Mapping[str, StoredFile]) -> dict[str, StoredFile]:
    """Of the files of a repository those that are downloaded: no pickles, and nothing that is git's."""
    return {
        path: file for path, file in files.items() if not is_pickle_name(path) and path != ".gitattributes"
    }


def download(
    session: Session,
    repo: str,
    type: RepoType,
    commit: str,
    folder: Path,
    files: Mapping[str, StoredFile],
) -> None:
    """Fill a folder with files of one commit; what comes damaged is asked for once more.

    Args:
        session: to ask with.
        repo: id.
        type: of the repository.
        commit: its sha.
        folder: an empty one.
        files: what is wanted, by name.

    Raises:
        DownloadError: when a file does not have the digest that the Hub gives for it.
        DiskSpaceError: when the disk is too small.
        HubError: or another of its kinds.
    """
    _check_room(folder, sum(file.size for file in files.values()), repo)
    with room_on_disk(folder.parent, repo):
        session.ask(
            repo,
            lambda: session.api.snapshot_download(
                repo,
                repo_type=type,
                revision=commit,
                local_dir=folder,
                allow_patterns=[exactly(path) for path in files],
            ),
        )
        compare(session, repo, type, commit, folder, files, local_dir=folder)
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # huggingface_hub's notes


def compare(
    session: Session,
    repo: str,
    type: RepoType,
    commit: str,
    folder: Path,
    files: Mapping[str, StoredFile],
    local_dir: Path | None = None,
) -> None:
    """Compare downloaded files with what the Hub says of them, and replace damaged ones once.

    Args:
        session: to ask with.
        repo: id.
        type: of the repository.
        commit: its sha.
        folder: where they lie.
        files: what there should be, by name.
        local_dir: the same, unless that is in the Hub's cache.

    Raises:
        DownloadError: naming the file.
    """
    for path, file in files.items():
        if _is_whole(folder / path, file):
            continue
        session.ask(
            f"{path} of {repo}",
            lambda path=path: session.api.hf_hub_download(  # type: ignore[misc]
                repo, path, repo_type=type, revision=commit, local_dir=local_dir, force_download=True
            ),
        )
        if not _is_whole(folder / path, file):
            digest = file.sha256 or file.git_sha1
            raise DownloadError(
                f"{path} of {repo}: expected the digest {digest[:12]}… that the Hub gives for it, found another twice; "
                "it was damaged on its way or on the Hub: try again, or tell its owner."
            )


def _is_whole(file: Path, stored: StoredFile) -> bool:
    if not file.is_file() or file.stat().st_size != stored.size:
        return False
    digest = hashlib.sha256()
    git = hashlib.sha1(b"blob %d\0" % stored.size, usedforsecurity=False)
    used = digest if stored.sha256 else git
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            used.update(block)
    return used.hexdigest() == (stored.sha256 or stored.git_sha1)


def exactly(path: str) -> str:
    """A pattern that only this name matches."""
    return re.sub(r"([*?[])", r"[\1]", path)


def _check_room(folder: Path, size: int, repo: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < size:
        raise DiskSpaceError(
            f"{repo}: expected room for {size / 1e6:,.0f} MB below {folder.parent}, found {free / 1e6:,.0f} MB; free "
            "some space, or choose another place (out, TMPDIR)."
        )


@contextmanager
def room_on_disk(folder: Path, repo: str) -> Iterator[None]:
    """Turn the errors of a full disk, whoever raises them, into one sentence.

    Raises:
        DiskSpaceError: in their place.
    """
    try:
        yield
    except Exception as error:
        cause: BaseException | None = error
        while cause is not None:
            if getattr(cause, "errno", None) in _FULL or _FULL_IN_WORDS.search(str(cause)):
                raise DiskSpaceError(
                    f"{repo}: expected room on the disk below {folder}, found it full; free some space, or choose "
                    "another place (out, HF_HOME, TMPDIR)."
                ) from error
            cause = cause.__cause__ or cause.__context__
        raise
