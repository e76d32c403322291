"""Which files hold data, and which split their names tell."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["ALL", "is_data", "of_split"]

ALL = "all"
"""Every split: what training data are compared with is compared whole."""

_SUFFIX = re.compile(r"\.(?:json|jsonl|ndjson|csv|tsv|parquet)(?:\.gz|\.zst)?\Z", re.IGNORECASE)
# What libraries and the Hub put beside data.
_NOT_DATA = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
_SPLITS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}


def is_data(name: str) -> bool:
    """Whether a file's relative name (with /) is that of a file of data; hidden ones are not."""
    parts = name.split("/")
    hidden = any(part.startswith((".", "_")) for part in parts)
    return bool(_SUFFIX.search(name)) and not hidden and parts[-1] not in _NOT_DATA


def of_split(names: Sequence[str], split: str | None) -> tuple[list[str], str]:
    """The files of a split, and a note on what was left out.

    Args:
        names: relative names, with /.
        split: None takes the files of the training split where any name tells that it is one, else all: what
            is to be tested with is never trained on by oversight. "all" takes every file.
    """
    if split == ALL:
        return list(names), ""
    chosen = [name for name in names if _tells(name, split or "train")]
    if not split and not chosen:
        return list(names), ""
    note = (
        f"read: {split or 'train'}, {len(chosen)} of {len(names)} files" if len(chosen) < len(names) else ""
    )
    return chosen, note


def _tells(name: str, split: str) -> bool:
    words = "|".join(map(re.escape, _SPLITS.get(split, (split,))))
    return re.search(rf"(?:\A|[/._-])(?:{words})(?=[/._-]|\d)", name, re.IGNORECASE) is not None
