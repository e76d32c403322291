"""`Contents`: the files of a folder that would go up, each with the digests that the Hub knows it by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chatdoctor_hub.errors import PublishError
from chatdoctor_hub.release import check_folder
from chatdoctor_hub.release.manifest import MANIFEST

__all__ = ["CARD", "CORPUS", "Contents", "LocalFile", "RepoType", "is_welcome", "listed_in", "read_contents"]

RepoType = Literal["model", "dataset"]
CARD, CORPUS = "README.md", "corpus.json"

# What people add to a repository that no record lists, and that goes up all the same.
_WELCOME = ("LICENSE", "LICENCE", "NOTICE", "CITATION.cff", "USE_POLICY.md")
_HIDDEN_BUT_MEANT = ".eval_results"


@dataclass(frozen=True)
class LocalFile:
    """A file that would go up.

    Args:
        path: its name in the repository.
        file: where it lies.
        size: in bytes.
        sha256: of its content; the Hub knows large files by it.
        git_sha1: the id that git gives it; the Hub knows small files by it.
    """

    path: str
    file: Path
    size: int
    sha256: str
    git_sha1: str


@dataclass(frozen=True)
class Contents:
    """A checked release or corpus folder.

    Args:
        folder: where it lies.
        type: "model" for a release, "dataset" for a corpus.
        files: what would go up, by name.
        strangers: names of these that its record does not list.
        left_out: names of what stays here: hidden files and folders.
    """

    folder: Path
    type: RepoType
    files: tuple[LocalFile, ...]
    strangers: tuple[str, ...]
    left_out: tuple[str, ...]


def read_contents(folder: str | Path, type: RepoType | None = None) -> Contents:
    """Check a folder (records, digests, prompt, card) and list what would go up.

    Args:
        folder: a release or a corpus.
        type: the kind of repository that is meant; None takes what the folder is.

    Raises:
        ReleaseNotFoundError, ReleaseFormatError, PromptDigestError: when it is neither, or has gaps.
        DataNotFoundError, DataFormatError: when the files of a corpus are not those of its record.
        PublishError: when it is of another type than was meant, or a link in it leads out of it.
    """
    folder = Path(folder).expanduser()
    _check_kind(folder)
    check_folder(folder)
    found: RepoType = "model" if (folder / MANIFEST).is_file() else "dataset"
    if type not in (None, found):
        raise PublishError(
            f"{folder}: expected {_WHAT[type]}, which a repository of type {type} is for, found "
            f"{_WHAT[found]}; give the other folder, or the type {found}."
        )
    if found == "dataset":
        from chatdoctor_hub.corpus.folder import Corpus

        Corpus.open(folder)
    paths, left_out = _paths(folder)
    record = (folder / (MANIFEST if found == "model" else CORPUS)).read_text(encoding="utf-8")
    listed = listed_in(record, found)
    strangers = [path for path in paths if path not in listed and not is_welcome(path)]
    files = tuple(_described(folder, path) for path in paths)
    if found == "model":
        _check_digests(folder, record, files)
    return Contents(folder, found, files, tuple(strangers), left_out)


def _check_kind(folder: Path) -> None:
    """Name what a release is made of, or where it is, to whoever gives the folder beside it.

    Raises:
        PublishError: for the folder of a run, or of a quickstart.
    """
    if (folder / MANIFEST).is_file() or (folder / CORPUS).is_file():
        return
    if (folder / "run.json").is_file():
        raise PublishError(
            f"{folder}: expected a release or a corpus, found the folder of a tuning run; make its release first: "
            f"chatdoctor release {folder} --license … --out RELEASE."
        )
    if (folder / "release" / MANIFEST).is_file():
        raise PublishError(
            f"{folder}: expected a release or a corpus, found a folder with a release in it; publish "
            f"{folder / 'release'}."
        )


_WHAT = {"model": "a model release", "dataset": "a corpus"}


def listed_in(record: str, type: RepoType) -> frozenset[str]:
    """The names of the files that a manifest or a corpus record says are its own, with card and record.

    Args:
        record: the JSON text of `chatdoctor.json` or `corpus.json`.
        type: of the repository.
    """
    try:
        read: Any = json.loads(record)
        names = frozenset(map(str, read.get("files") or ()))
    except (ValueError, AttributeError, TypeError):
        names = frozenset()
    return names | {CARD, MANIFEST if type == "model" else CORPUS}


def is_welcome(path: str) -> bool:
    """Whether a file of that name needs no record: a licence, a notice, how to cite."""
    return path.rpartition("/")[2] in _WELCOME


def _check_digests(folder: Path, record: str, files: Iterable[LocalFile]) -> None:
    """`load_manifest` reads what a model is loaded from; here every file is read anyway, also a base inside."""
    digests = json.loads(record)["files"]
    if changed := [file.path for file in files if digests.get(file.path, file.sha256) != file.sha256]:
        raise PublishError(
            f"{folder}: expected the files that {MANIFEST} records, found others as {', '.join(changed)}; make or "
            "fetch the release again."
        )


def _paths(folder: Path) -> tuple[list[str], tuple[str, ...]]:
    """Names that go up and names that stay, both sorted; hidden ones stay, but for measurements."""
    kept: list[str] = []
    left: set[str] = set()
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder)
        hidden = next((part for part in path.parts if part.startswith(".") or part == "__pycache__"), "")
        if hidden and path.parts[0] != _HIDDEN_BUT_MEANT:
            left.add(Path(*path.parts[: path.parts.index(hidden) + 1]).as_posix())
        elif file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
            raise PublishError(
                f"{file}: expected the files of the folder itself, found a link that leads out of it; put a copy in "
                "its place, or remove it."
            )
        elif file.is_file():
            kept.append(path.as_posix())
    return kept, tuple(sorted(left))


def _described(folder: Path, path: str) -> LocalFile:
    file = folder / path
    size = file.stat().st_size
    sha256, sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    try:
        with file.open("rb") as opened:
            while block := opened.read(1 << 20):
                sha256.update(block)
                sha1.update(block)
    except OSError as error:
        raise PublishError(
            f"{file}: expected a file that can be read, found: {error.strerror}; mend it or remove it."
        ) from error
    return LocalFile(path, file, size, sha256.hexdigest(), sha1.hexdigest())
