"""Where a model's files are: a folder, or a Hub id whose files are fetched once."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from chatdoctor_hub.errors import ModelFormatError, ModelNotFoundError

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["MODEL_FILES", "fingerprint", "is_adapter", "is_release", "locate"]

# Only what is needed to run a model, and no pickle among it.
MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]*(/[A-Za-z0-9_][\w.-]*)?")
_REASONS = {
    "RepositoryNotFoundError": "the Hub knows none of that name, or not for you",
    "GatedRepoError": "the Hub gives it only to those who accepted its terms",
    "RevisionNotFoundError": "the Hub does not know that revision of it",
    "LocalEntryNotFoundError": "the Hub could not be reached",
}
_MARKS = ("chatdoctor.json", "adapter_config.json", "config.json")


def is_release(folder: Path) -> bool:
    """Whether the folder says it is a release of this library."""
    return (folder / "chatdoctor.json").is_file()


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter rather than a whole model."""
    return (folder / "adapter_config.json").is_file()


def locate(model: str | PathLike[str], revision: str | None = None, *, download: bool = True) -> Path:
    """The folder with the model's files.

    Args:
        model: a folder, or a Hub id ("org/name"); a folder is looked for first, then the Hub's cache.
        revision: branch, tag or commit of a Hub id.
        download: False looks on this machine only.

    Raises:
        ModelNotFoundError: when it is neither; HF_HUB_OFFLINE is respected.
        ModelFormatError: when it is a file.
    """
    name = str(model)
    folder = Path(model).expanduser()
    if name and folder.is_dir():
        return folder
    if name and folder.exists():
        raise ModelFormatError(
            f"{name}: expected a folder with a model, found a file; give the folder it is in."
        )
    if not _HUB_ID.fullmatch(name):
        raise ModelNotFoundError(
            f"{name or 'model'}: expected a model's folder or a Hub id such as 'org/name', found no such "
            "folder; check the path."
        )
    return _from_hub(name, revision, download)


def _from_hub(name: str, revision: str | None, download: bool) -> Path:
    from huggingface_hub import constants, snapshot_download

    why = "nothing was fetched"
    for local in (True, False):
        if not local and constants.HF_HUB_OFFLINE:
            why = "HF_HUB_OFFLINE is set"
        if not local and (constants.HF_HUB_OFFLINE or not download):
            break
        try:
            found = Path(
                snapshot_download(name, revision=revision, local_files_only=local, allow_patterns=MODEL_FILES)
            )
        # The Hub's errors are OSErrors and ValueErrors; a blocked network shows as a RuntimeError.
        except (OSError, ValueError, RuntimeError) as error:
            why = _REASONS.get(type(error).__name__, f"the Hub gave {type(error).__name__}")
            continue
        if any((found / mark).is_file() for mark in _MARKS):
            return found
        why = "its repository holds no model"
    raise ModelNotFoundError(
        f"{name}: expected a model's folder or the id of a model on the Hub, found no such folder and no "
        f"such model in the Hub's cache, and {why}; check the name, or the network and your access."
    )


def fingerprint(*folders: Path) -> str:
    """A digest that changes when a model's files do (by name, size and time of change, not by content).

    Args:
        folders: of the model and whatever it rests on.
    """
    digest = hashlib.sha256()
    for folder in folders:
        digest.update(f"{folder.resolve()}\0".encode("utf-8", "surrogateescape"))
        files = [file for pattern in MODEL_FILES for file in folder.rglob(pattern) if file.is_file()]
        for file in sorted(files):
            state = file.stat()
            line = f"{file.relative_to(folder)}\0{state.st_size}\0{state.st_mtime_ns}\0"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
