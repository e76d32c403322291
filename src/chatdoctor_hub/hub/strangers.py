"""`sort_strangers`: what lies in a folder and its record does not list: words, pictures, and what stays here.

A record lists what was checked when the folder was made. What somebody put beside it goes up only if it can be looked
through: words are, pictures somebody must look at, and all else may hold patients' words, code or keys unseen.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from chatdoctor_hub.hub.contents import Contents, LocalFile

__all__ = ["Strangers", "sort_strangers"]

_DOCUMENTS = frozenset({".md", ".txt", ".rst", ".cff", ".bib"})
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".gif", ".webp"})
_TABLES = frozenset({".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".arrow", ".feather", ".xml"})
_TABLES |= {".xlsx", ".xls", ".ods", ".db", ".sqlite", ".sqlite3", ".log", ".html", ".pdf", ".docx"}
_ARCHIVES = frozenset({".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".tar"})
_CODE = frozenset({".py", ".ipynb", ".sh", ".js", ".so", ".dll", ".exe"})
_LARGEST_DOCUMENT = 256 << 10  # what is longer is data, whatever its name


@dataclass(frozen=True)
class Strangers:
    """The files that no record lists.

    Args:
        documents: words by file, to be searched for people.
        pictures: names of what only eyes can judge.
        others: why each of the rest must not go up, by file.
    """

    documents: dict[str, str]
    pictures: tuple[str, ...]
    others: dict[str, str]


def sort_strangers(contents: Contents, known: Collection[str] = ()) -> Strangers:
    """Tell the strangers of a folder apart.

    Args:
        contents: of the folder.
        known: files of which it is known already that they must not go up.
    """
    documents, pictures, others = {}, [], {}
    files = {file.path: file for file in contents.files}
    for path in contents.strangers:
        suffix = Path(path).suffix.lower()
        if path in known:
            continue
        if suffix in _PICTURES:
            pictures.append(path)
        elif suffix in _DOCUMENTS and (words := _words(files[path])) is not None:
            documents[path] = words
        else:
            others[path] = f"not listed in the record of the folder; {_reason(suffix)}: remove it"
    return Strangers(documents, tuple(pictures), others)


def _words(file: LocalFile) -> str | None:
    """The text of a document; None where it is none."""
    if file.size > _LARGEST_DOCUMENT:
        return None
    try:
        text = file.file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _reason(suffix: str) -> str:
    if suffix in _TABLES:
        return "it may hold patients' words"
    if suffix in _ARCHIVES:
        return "nobody sees what is in an archive"
    if suffix in _CODE:
        return "others would run it"
    if suffix in _DOCUMENTS:
        return f"not a document in UTF-8 of at most {_LARGEST_DOCUMENT >> 10} KiB, so it may hold patients' words"
    return "neither a document (.md, .txt) nor a picture, so it may hold anything"
