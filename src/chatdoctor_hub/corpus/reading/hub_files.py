"""The data files of a data set on the Hub, at one commit, fetched one by one as they are read."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatdoctor_hub.corpus.reading.splits_by_name import ALL, is_data, of_split
from chatdoctor_hub.errors import ConfigError, DataFormatError, DataNotFoundError

__all__ = ["HubFiles", "find_on_hub"]

_CARD = "README.md"
_REASONS = {
    "RepositoryNotFoundError": "the Hub knows no data set of that name, or not for you",
    "GatedRepoError": "the Hub gives it only to those who accepted its terms",
    "DisabledRepoError": "the Hub has disabled it",
    "RevisionNotFoundError": "the Hub does not know that revision of it",
    "OfflineModeIsEnabled": "HF_HUB_OFFLINE is set",
    "LocalEntryNotFoundError": "the Hub could not be reached",
}


@dataclass(frozen=True)
class HubFiles:
    """Files of a data set at one commit.

    Args:
        repository: the id.
        names: relative names, in the order in which they are read.
        revision: the commit.
        licence: as the card states it, or "".
        note: what was left out, or "".
        snapshot: the folder that they are in already, or None.
    """

    repository: str
    names: tuple[str, ...]
    revision: str
    licence: str = ""
    note: str = ""
    snapshot: Path | None = field(default=None, compare=False)

    def fetch(self, name: str) -> Path:
        """The file's place in the Hub's cache on this machine.

        Raises:
            DataNotFoundError: when it cannot be fetched.
        """
        if self.snapshot:
            return self.snapshot / name
        from huggingface_hub import hf_hub_download

        try:
            return Path(hf_hub_download(self.repository, name, repo_type="dataset", revision=self.revision))
        except _hub_errors() as error:
            raise DataNotFoundError(
                f"Expected to fetch {name} of the data set {self.repository}, found that {_reason(error)}; "
                "check the network and your access."
            ) from None


def find_on_hub(repository: str, revision: str | None, config: str, split: str | None) -> HubFiles:
    """The data files of a data set: as its card lists them, else by their names.

    HF_ENDPOINT, HF_HUB_OFFLINE and the Hub's cache are respected; where the Hub cannot be reached, the cached
    files of the revision are taken.

    Args:
        repository: its id, "org/name".
        revision: branch, tag or commit; None is the main branch.
        config: the configuration, or "".
        split: None takes the training split where the names tell one, else all files.

    Raises:
        DataNotFoundError: when it cannot be reached and is not in the cache, or has no such split.
        DataFormatError: when no file of it is of a known format.
        ConfigError: when it has several configurations, or none of that name.
    """
    commit, every, card, snapshot = _listing(repository, revision)
    every = sorted(name for name in every if is_data(name))
    if not every:
        raise DataFormatError(
            f"Expected JSON, JSON Lines, CSV or Parquet files in the data set {repository}, found none of them; "
            "export it to one of these formats first."
        )
    chosen, note = _of_config(repository, every, card.get("configs"), config, split)
    if not chosen:
        raise DataNotFoundError(
            f"Expected files of the split {split or 'train'!r} in the data set {repository}, found none among "
            f"{len(every)}; name another split."
        )
    if snapshot:
        note = "; ".join(filter(None, ["read from the Hub's cache, which may lack files of the set", note]))
    return HubFiles(repository, tuple(chosen), commit, _licence(card.get("license")), note, snapshot)


def _listing(repository: str, revision: str | None) -> tuple[str, list[str], Mapping[str, Any], Path | None]:
    """The commit, the names of all files, the card's fields, and the folder they are in where that is cached."""
    from huggingface_hub import HfApi, hf_hub_download

    snapshot = None
    card: Mapping[str, Any] = {}
    try:
        info = HfApi().dataset_info(repository, revision=revision)
        commit, every = str(info.sha), [item.rfilename for item in info.siblings or ()]
        card = _card(info.card_data)
        if _CARD in every:
            # So that the cache knows, when there is no network, what commit the branch was at and what it held.
            hf_hub_download(repository, _CARD, repo_type="dataset", revision=revision)
    except _hub_errors() as error:
        snapshot = _cached(repository, revision, error)
        commit = snapshot.name
        every = [path.relative_to(snapshot).as_posix() for path in snapshot.rglob("*") if path.is_file()]
        card = _cached_card(snapshot)
    return commit, every, card, snapshot


def _card(data: Any) -> dict[str, Any]:
    return {name: data.get(name) for name in ("license", "configs")} if data else {}


def _cached_card(snapshot: Path) -> dict[str, Any]:
    from huggingface_hub import DatasetCard

    if not (snapshot / _CARD).is_file():
        return {}
    try:
        return _card(DatasetCard.load(snapshot / _CARD, ignore_metadata_errors=True).data)
    except _hub_errors():
        return {}


def _licence(stated: Any) -> str:
    return ", ".join(map(str, stated)) if isinstance(stated, list) else str(stated or "")


def _of_config(
    repository: str, names: Sequence[str], configs: Any, config: str, split: str | None
) -> tuple[list[str], str]:
    listed = [item for item in configs if isinstance(item, dict)] if isinstance(configs, list) else []
    listed = [item for item in listed if item.get("config_name") and item.get("data_files")]
    entry = _choose(listed, config)
    if entry is None and listed:
        known = ", ".join(str(item["config_name"]) for item in listed[:20])
        found = f"{config!r}" if config else "none named"
        raise ConfigError(
            f"Expected one of the configurations {known} of the data set {repository}, found {found}; set 'config'."
        )
    if entry is None:
        within = [name for name in names if name.startswith(f"{config}/")] if config else list(names)
        if config and not within:
            raise ConfigError(
                f"Expected a configuration of the data set {repository}, found none called {config!r}; leave it "
                "out or name one of its folders."
            )
        return of_split(within, split)
    return _listed(names, entry["data_files"], split)


def _choose(listed: Sequence[dict[str, Any]], config: str) -> dict[str, Any] | None:
    if config:
        return next((item for item in listed if item["config_name"] == config), None)
    if len(listed) == 1:
        return listed[0]
    return next((i for i in listed if i.get("default") or i["config_name"] == "default"), None)


def _listed(names: Sequence[str], data_files: Any, split: str | None) -> tuple[list[str], str]:
    """The files that the card lists: a pattern, several, or `{split, path}` entries."""
    entries = data_files if isinstance(data_files, list) else [data_files]
    by_split = [item for item in entries if isinstance(item, dict)]
    if not by_split:
        patterns = [str(item) for item in entries]
        return of_split([name for name in names if _matches(name, patterns)], split)
    known = [str(item.get("split")) for item in by_split]
    wanted = None if split == ALL else split or ("train" if "train" in known else None)
    chosen: list[str] = []
    for item in by_split:
        if wanted in (None, item.get("split")):
            paths = item.get("path")
            patterns = [str(path) for path in paths] if isinstance(paths, list) else [str(paths)]
            chosen += [name for name in names if _matches(name, patterns) and name not in chosen]
    note = f"read: {wanted}; splits of the set: {', '.join(known)}" if wanted and len(known) > 1 else ""
    return chosen, note


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern.removeprefix("./")) for pattern in patterns)


def _cached(repository: str, revision: str | None, error: BaseException) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(repository, repo_type="dataset", revision=revision, local_files_only=True)
        )
    except _hub_errors():
        raise DataNotFoundError(
            f"Expected a file, a folder or a data set on the Hub at {repository!r}, found no such file, nothing in "
            f"the Hub's cache, and {_reason(error)}; check the name, or the network and your access."
        ) from None


def _hub_errors() -> tuple[type[Exception], ...]:
    """What the Hub's client raises; a blocked network shows as a RuntimeError."""
    from huggingface_hub.errors import HfHubHTTPError

    # A refused connection is an error of the HTTP library, which differs between versions of the client.
    of_library = [kind for kind in HfHubHTTPError.__mro__ if kind.__name__ == "HTTPError"]
    return (OSError, ValueError, RuntimeError, *of_library)


def _reason(error: BaseException) -> str:
    return _REASONS.get(type(error).__name__, f"the Hub gave {type(error).__name__}")
