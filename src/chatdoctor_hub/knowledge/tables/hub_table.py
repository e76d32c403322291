"""A disease table among the files of a data set on the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from chatdoctor_hub.errors import ConfigError, DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge.tables.table_files import SUFFIXES

__all__ = ["FetchedTable", "fetch_table"]

_SHOWN = 20  # file names in a message
_REASONS = {
    "RepositoryNotFoundError": "the Hub knows no data set of that name, or not for you",
    "GatedRepoError": "the Hub gives it only to those who accepted its terms",
    "DisabledRepoError": "the Hub has disabled it",
    "RevisionNotFoundError": "the Hub does not know that revision",
    "EntryNotFoundError": "it has no such file",
    "RemoteEntryNotFoundError": "it has no such file",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set, and it is not in the cache",
    "LocalEntryNotFoundError": "the Hub cannot be reached, and it is not in the cache",
    "HFValidationError": "that is no name of a data set",
}


@dataclass(frozen=True)
class FetchedTable:
    """A file in the Hub's cache.

    Args:
        path: where it is on this machine.
        source: what it is: "org/name@commit/file".
    """

    path: Path
    source: str


def fetch_table(repo_id: str, filename: str | None, revision: str | None) -> FetchedTable:
    """Bring the table's file to this machine, or take it from the cache.

    HF_ENDPOINT, HF_HUB_OFFLINE, tokens and the cache folder are as huggingface_hub has them.

    Args:
        repo_id: of the data set, "org/name".
        filename: of the file; None takes the only CSV, or else the only Parquet or JSON Lines file.
        revision: branch, tag or commit; None is the main branch.

    Raises:
        DataNotFoundError: there is no such data set, revision or file, or it cannot be reached.
        ConfigError: there are several files, and none was named.
        DataFormatError: there is no file of a kind that can be read.
    """
    from huggingface_hub import hf_hub_download

    name = filename or _only_table(repo_id, revision)
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        raise DataFormatError(
            f"Expected a file with one of the endings {', '.join(SUFFIXES)}, found {name!r}; name another."
        )
    try:
        path = Path(hf_hub_download(repo_id, name, repo_type="dataset", revision=revision))
    except _hub_errors() as error:
        raise _not_found(f"the file {name!r} of the data set {repo_id!r}", error) from None
    # …/snapshots/COMMIT/NAME
    commit = path.parts[-1 - len(PurePosixPath(name).parts)]
    return FetchedTable(path, f"{repo_id}@{commit}/{name}")


def _only_table(repo_id: str, revision: str | None) -> str:
    names = _names(repo_id, revision)
    for suffixes in (SUFFIXES[:1], SUFFIXES[1:]):
        found = sorted(name for name in names if PurePosixPath(name).suffix.lower() in suffixes)
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
            raise ConfigError(
                f"Expected one table in the data set {repo_id!r}, found {len(found)}: {shown}; "
                "name one as 'filename'."
            )
    raise DataFormatError(
        f"Expected a file with one of the endings {', '.join(SUFFIXES)} in the data set {repo_id!r}, found none; "
        "choose another data set."
    )


def _names(repo_id: str, revision: str | None) -> Iterable[str]:
    """The files of a data set, or those in the cache where the Hub cannot be asked."""
    from huggingface_hub import HfApi, snapshot_download

    try:
        info = HfApi().dataset_info(repo_id, revision=revision)
        return [item.rfilename for item in info.siblings or ()]
    except _hub_errors() as error:
        if type(error).__name__ in ("RepositoryNotFoundError", "RevisionNotFoundError", "GatedRepoError"):
            raise _not_found(f"the data set {repo_id!r}", error) from None
        try:
            folder = Path(
                snapshot_download(repo_id, repo_type="dataset", revision=revision, local_files_only=True)
            )
        except _hub_errors():
            raise _not_found(f"the data set {repo_id!r}", error) from None
        return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]


def _not_found(what: str, error: BaseException) -> DataNotFoundError:
    reason = _REASONS.get(type(error).__name__, f"the Hub cannot be reached ({type(error).__name__})")
    return DataNotFoundError(
        f"Expected {what} on the Hub, found that {reason}; check the name, the network and your access."
    )


def _hub_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises; a blocked network shows as a RuntimeError."""
    from huggingface_hub.errors import HfHubHTTPError

    # A refused connection is an error of the HTTP library, which differs between versions of the client.
    of_library = [kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError"]
    return (OSError, ValueError, RuntimeError, *of_library)
