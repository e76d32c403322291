"""Published sets of dialogues by name: where they are, what layout they have, under what terms."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

import yaml

from chatdoctor_hub.corpus.reading.layouts import Layout, layout_named
from chatdoctor_hub.errors import ConfigError

__all__ = ["UNKNOWN_LICENCE", "Provenance", "PublishedSet", "published_set", "published_sets"]

UNKNOWN_LICENCE = "unknown; check before use"


@dataclass(frozen=True)
class Provenance:
    """Where dialogues come from and under what terms, for the record and the card of what is made of them.

    Args:
        name: of the set, or of the file or folder.
        url: where it is published, or "".
        licence: as its publisher states it; "unknown; check before use" where that is not known.
        citation: how to cite it, or "".
        notes: what whoever uses it should know.
    """

    name: str
    url: str = ""
    licence: str = UNKNOWN_LICENCE
    citation: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PublishedSet:
    """An entry of `published.yaml`.

    Args:
        id: the name to ask for it.
        provenance: what is known of it.
        layouts: those that its copies have.
        hub: its id on the Hub, or "".
        config: the configuration there, or "".
    """

    id: str
    provenance: Provenance
    layouts: tuple[Layout, ...]
    hub: str = ""
    config: str = ""


def published_set(name: str) -> PublishedSet:
    """The published set of that name.

    Raises:
        ConfigError: naming the near ones.
    """
    sets = published_sets()
    if name in sets:
        return sets[name]
    near = difflib.get_close_matches(name.casefold(), sets, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sets)}"
    raise ConfigError(f"Expected the name of a published set as adapter, found {name!r}; {hint}")


@lru_cache(maxsize=1)
def published_sets() -> dict[str, PublishedSet]:
    """All published sets by name."""
    text = resources.files(__package__).joinpath("published.yaml").read_text(encoding="utf-8")
    sets = {}
    for name, entry in yaml.safe_load(text).items():
        provenance = Provenance(
            name=entry["title"],
            url=entry["url"],
            licence=entry["licence"],
            citation=entry["citation"],
            notes=tuple(entry["notes"]),
        )
        layouts = tuple(layout_named(key) for key in (entry["layout"], *entry.get("also", ())))
        sets[name] = PublishedSet(name, provenance, layouts, entry.get("hub", ""), entry.get("config", ""))
    return sets
