"""`locate`: the files of a source, on this machine or on the Hub."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from chatdoctor_hub.corpus.reading.hub_files import HubFiles, find_on_hub
from chatdoctor_hub.corpus.reading.source import SourceConfig
from chatdoctor_hub.corpus.reading.splits_by_name import is_data, of_split
from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["SourceFile", "SourceFiles", "locate"]

_HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}")


@dataclass(frozen=True)
class SourceFile:
    """A file of a source.

    Args:
        name: relative to the folder or data set.
        fetch: gives the file's place on this machine, which it is brought to if need be.
    """

    name: str
    fetch: Callable[[], Path]


@dataclass(frozen=True)
class SourceFiles:
    """The files of a source, in the order in which they are read.

    Args:
        name: the file's or folder's name, or the Hub id.
        place: for messages: the path, or the Hub id.
        files: at least one.
        revision: the commit on the Hub, or "".
        licence: as the Hub's card states it, or "".
        note: what was left out, or "".
    """

    name: str
    place: str
    files: tuple[SourceFile, ...]
    revision: str = ""
    licence: str = ""
    note: str = ""

    def digest(self) -> str:
        """sha256 (hex) of the files' names and contents; on the Hub, of their names and the commit."""
        whole = hashlib.sha256(self.revision.encode())
        for file in self.files:
            whole.update(b"\0" + file.name.encode("utf-8", "surrogateescape") + b"\0")
            if not self.revision:
                whole.update(_digest(file.fetch()))
        return whole.hexdigest()


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise DataNotFoundError(
            f"Expected to read {path}, found: {error.strerror}; check the path and its permissions."
        ) from None
    return digest.digest()


def locate(config: SourceConfig, hub_config: str = "") -> SourceFiles:
    """The files that a source has.

    Args:
        config: names the source.
        hub_config: the configuration to take where `config` names none.

    Raises:
        DataNotFoundError: when there is no such file, folder or data set.
        DataFormatError: when a folder has no file of dialogues, or is a corpus folder.
    """
    path, kind = _look_at(config.path)
    if kind == "folder":
        return _in_folder(path, config)
    if not kind and _HUB_ID.fullmatch(config.path) and not is_data(config.path):
        found_on_hub = find_on_hub(config.path, config.revision, config.config or hub_config, config.split)
        return _of_hub(config.path, found_on_hub)
    if not kind:
        raise DataNotFoundError(f"Expected a JSON file of dialogues at {path}, found none; check the path.")
    return SourceFiles(_printable(path.name), str(path), (SourceFile(_printable(path.name), lambda: path),))


def _look_at(name: str) -> tuple[Path, str]:
    """The path, and what is there: "folder", "file" or ""."""
    path = Path(name)
    try:
        path = path.expanduser()
        state = path.stat()
    except FileNotFoundError:
        return path, ""
    # RuntimeError: of a home folder that is nobody's.
    except (OSError, ValueError, RuntimeError) as error:
        found = getattr(error, "strerror", None) or "a path that no file can have"
        raise DataNotFoundError(
            f"Expected to read dialogues from {str(path)!r}, found: {found}; check the path and its "
            "permissions."
        ) from None
    if stat.S_ISDIR(state.st_mode):
        return path, "folder"
    if not stat.S_ISREG(state.st_mode):
        raise DataNotFoundError(
            f"Expected a file or a folder at {path}, found a device or a pipe; write it to a file first."
        )
    return path, "file"


def _printable(name: str) -> str:
    """A file's name as text that UTF-8 can hold."""
    return os.fsencode(name).decode("utf-8", "replace")


def _of_hub(name: str, found: HubFiles) -> SourceFiles:
    files = tuple(SourceFile(file, _fetcher(found, file)) for file in found.names)
    return SourceFiles(name, name, files, found.revision, found.licence, found.note)


def _fetcher(found: HubFiles, name: str) -> Callable[[], Path]:
    return lambda: found.fetch(name)


def _in_folder(folder: Path, config: SourceConfig) -> SourceFiles:
    if (folder / "corpus.json").is_file():
        raise DataFormatError(
            f"Expected {folder} to be a folder of files with dialogues, found a corpus folder; open it with "
            "Corpus.open."
        )
    root = folder / config.config if config.config else folder
    every = [path.relative_to(folder).as_posix() for path in root.rglob("*") if path.is_file()]
    names = sorted(name for name in every if is_data(name))
    chosen, note = of_split(names, config.split)
    if not chosen:
        wanted = f"of the split {config.split!r} " if names and config.split else ""
        raise DataFormatError(
            f"Expected {root} to be a file of dialogues, or a folder of such files {wanted}(.json, .jsonl, "
            ".csv, .tsv, .parquet), found a folder without one; name the file itself, or open a corpus folder "
            "with Corpus.open."
        )
    return SourceFiles(
        _printable(folder.resolve().name), str(folder), tuple(_files(folder, chosen)), note=note
    )


def _files(folder: Path, names: Iterable[str]) -> Iterable[SourceFile]:
    for name in names:
        place = folder / name
        yield SourceFile(_printable(name), lambda place=place: place)  # type: ignore[misc]
