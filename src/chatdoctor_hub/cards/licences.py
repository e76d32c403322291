"""Licences by their ids on the Hub and in SPDX: what family they are of, and which go together."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

__all__ = ["Licence", "conflict_between", "find_licence", "near_licences"]

NON_COMMERCIAL, NO_DERIVATIVES, SHARE_ALIKE, OTHER = (
    "non-commercial",
    "no-derivatives",
    "share-alike",
    "other",
)


@dataclass(frozen=True)
class Licence:
    """A licence that the table knows.

    Args:
        id: as the Hub spells it.
        families: of "permissive", "share-alike", "non-commercial", "no-derivatives", "other" (terms of its own).
    """

    id: str
    families: frozenset[str]

    @property
    def restricts(self) -> str:
        """What speaks against a public release, in a few words; "" for nothing."""
        if NO_DERIVATIVES in self.families:
            return "forbids to pass on what is made from it"
        return "forbids commercial use" if NON_COMMERCIAL in self.families else ""


def find_licence(text: str) -> Licence | None:
    """The licence that a text names, by an id of the Hub, of SPDX or a common spelling; None for all else.

    "unknown" and "" name none.
    """
    table = _table()
    slug = re.sub(r"[^a-z0-9.+]+", "-", text.lower()).strip("-")
    for name in (slug, re.sub(r"-(only|or-later)$|\+$", "", slug)):
        id = table["aliases"].get(name, name)
        if families := frozenset(kind for kind, ids in table["families"].items() if id in ids):
            return Licence(id, families)
    return None


def near_licences(text: str) -> tuple[str, ...]:
    """Ids like a text that names no licence, for messages."""
    import difflib

    ids = {id for ids in _table()["families"].values() for id in ids}
    return tuple(difflib.get_close_matches(text.lower(), sorted(ids), n=3, cutoff=0.5))


def conflict_between(made_from: Licence, released: Licence) -> str:
    """Why what is made from one work may not be released under another licence; "" where it may.

    Careful, and no legal advice: whether a model is made from its data is disputed, and is taken for true.

    Args:
        made_from: the licence of the base model or of the data.
        released: that of the release.
    """
    if NO_DERIVATIVES in made_from.families:
        return f"{made_from.id} forbids to pass on what is made from it"
    if made_from.id == released.id:
        return ""
    if SHARE_ALIKE in made_from.families:
        others = _table()["compatible"].get(made_from.id, [])
        if released.id not in others:
            return f"{made_from.id} asks for {' or '.join([made_from.id, *others])}"
    if NON_COMMERCIAL in made_from.families and not {NON_COMMERCIAL, OTHER} & released.families:
        return f"{made_from.id} forbids commercial use, which {released.id} allows"
    if OTHER in made_from.families and released.id != "other":
        return f"{made_from.id} has terms of its own, which {released.id} does not pass on"
    return ""


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    import yaml

    text = resources.files(__package__).joinpath("data/licences.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table
