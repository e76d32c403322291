"""Rules kept as data: named lists of regular expressions in a YAML file with id, version and source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from chatdoctor_hub.corpus.writing.grammar import read_data

__all__ = ["rule"]


@lru_cache(maxsize=128)
def rule(file: str, *path: str) -> re.Pattern[str]:
    """One pattern of all alternatives of a rule, without letter case; `^` and `$` stand at line ends too.

    Args:
        file: the name of the file in `data/`, without its ending.
        path: the keys that lead to the list.
    """
    found = read_data("chatdoctor_hub.corpus.writing", file)
    for key in path:
        found = found[key]
    alternatives: Sequence[str] = found  # type: ignore[assignment]
    return re.compile("|".join(f"(?:{item})" for item in alternatives), re.IGNORECASE | re.MULTILINE)
