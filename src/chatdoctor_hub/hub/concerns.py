"""`find_concerns`: what speaks against uploading a folder, or against showing it to everybody."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.hub.contents import Contents, LocalFile
from chatdoctor_hub.hub.credentials import credentials_in
from chatdoctor_hub.release import public_obstacles

__all__ = ["ACCEPTABLE", "PICKLES", "Concern", "find_concerns", "is_pickle_name"]

Weight = Literal["refused", "public", "note"]
ACCEPTABLE = ("licences", "identifiers")
"""The kinds that may be made public all the same, when somebody says so."""

# What torch.load, numpy, joblib and pandas unpickle.
PICKLES = frozenset(
    {".bin", ".pt", ".pth", ".pt2", ".ptl", ".ckpt", ".pkl", ".pickle", ".pck", ".mar", ".th"}
)
PICKLES |= {".joblib", ".dill", ".cloudpickle", ".npy", ".npz"}
_TABLES = frozenset({".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".xlsx", ".xls"})
_TABLES |= {".db", ".sqlite", ".sqlite3", ".log"}
_LARGEST_FILE = 200 << 30  # what the Hub asks to stay below in one file
_MOST_FILES = 25_000  # large files in one commit, as huggingface_hub says


@dataclass(frozen=True)
class Concern:
    """Something to know before a folder goes up; never the words it is about.

    Args:
        kind: "secrets", "pickles", "size", "tables", "licences", "identifiers", "strangers" or "left out".
        weight: "refused" lets nothing go up; "public" only to oneself, unless it is accepted by its kind; "note"
            is to be known.
        where: a file, or "" for the folder.
        what: was found, and what to do.
    """

    kind: str
    weight: Weight
    where: str
    what: str

    def to_record(self) -> dict[str, Any]:
        """A plain dict for JSON."""
        return asdict(self)


def find_concerns(contents: Contents) -> tuple[Concern, ...]:
    """Look through all files of a folder.

    Raises:
        MissingExtraError: for a corpus without pyarrow.
    """
    found = [concern for file in contents.files for concern in _of_file(file)]
    found += _of_sizes(contents)
    found += [Concern("licences", "public", "", text) for text in public_obstacles(contents.folder)]
    found += _of_strangers(contents)
    if contents.type == "dataset":
        found += _of_patients(contents.folder)
    if contents.left_out:
        found.append(
            Concern("left out", "note", "", f"hidden, so they stay here: {_some(contents.left_out)}")
        )
    return tuple(found)


def _of_file(file: LocalFile) -> Iterator[Concern]:
    if reason := _pickle(file):
        yield Concern("pickles", "refused", file.path, f"{reason}; such files can run code: use safetensors")
    else:
        counts = credentials_in(file.file)
        for kind, count in counts.items():
            what = f"{count} {kind}{'s' if count > 1 else ''}; remove and revoke what is real"
            yield Concern("secrets", "refused", file.path, what)
    if file.size > _LARGEST_FILE:
        what = f"{file.size / (1 << 30):.0f} GiB, more than {_LARGEST_FILE >> 30} GiB in one file; save it in shards"
        yield Concern("size", "refused", file.path, what)


def is_pickle_name(path: str) -> bool:
    """Whether a file of that name is one that would be unpickled."""
    return Path(path).suffix.lower() in PICKLES


def _pickle(file: LocalFile) -> str:
    """Why a file is taken for a pickle, whatever its name; "" where it is none."""
    if is_pickle_name(file.path):
        return f"a pickle by its name ({file.file.suffix})"
    with file.file.open("rb") as opened:
        start = opened.read(9)
    if file.file.suffix == ".safetensors":
        # Eight bytes of length, and then JSON.
        return "" if start[8:] == b"{" else "named as safetensors, but none by its content"
    # What protocol 2 and above opens with is no UTF-8.
    if len(start) > 1 and start[0] == 0x80 and start[1] in range(2, 6):
        return "a pickle by its content"
    if start.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(file.file) as archive:
                if any(name.endswith((".pkl", ".pickle")) for name in archive.namelist()):
                    return "an archive with a pickle in it"
        except zipfile.BadZipFile:
            return "a broken archive"
    return ""


def _of_sizes(contents: Contents) -> Iterator[Concern]:
    if len(contents.files) > _MOST_FILES:
        what = f"{len(contents.files):,} files, more than {_MOST_FILES:,} in one commit; use larger shards"
        yield Concern("size", "refused", "", what)
    for file in contents.files:
        if not file.size:
            yield Concern("size", "note", file.path, "empty")


def _of_strangers(contents: Contents) -> Iterator[Concern]:
    tables = [path for path in contents.strangers if Path(path).suffix.lower() in _TABLES]
    for path in tables:
        what = "a table that the record of the folder does not list; it may hold patients' words: remove it"
        yield Concern("tables", "refused", path, what)
    if others := [path for path in contents.strangers if path not in tables]:
        yield Concern("strangers", "note", "", f"not listed in the record, and going up: {_some(others)}")


def _of_patients(folder: Path) -> Iterator[Concern]:
    from chatdoctor_hub.corpus.cleaning import count_identifiers
    from chatdoctor_hub.corpus.folder import Corpus
    from chatdoctor_hub.corpus.splits import SPLITS

    corpus = Corpus.open(folder, verify=False)
    try:
        counts = count_identifiers(item for name in SPLITS for item in corpus.stream(name))
    except MissingExtraError:
        what = "not looked for: pip install 'chatdoctor-hub[deidentify]', and look before others do"
        yield Concern("identifiers", "public", "", what)
        return
    if counts.by_kind:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.by_kind.items())
        what = f"in {counts.changed:,} of {counts.dialogues:,} dialogues: {kinds}"
        yield Concern("identifiers", "public", "", what)
    else:
        yield Concern("identifiers", "note", "", f"none found in {counts.dialogues:,} dialogues")


def _some(names: tuple[str, ...] | list[str], shown: int = 5) -> str:
    more = len(names) - shown
    return ", ".join(names[:shown]) + (f" and {more} more" if more > 0 else "")
