"""The licences of a release: its own, its base model's and its data's, and whether they go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from chatdoctor_hub.cards import conflict_between, find_licence, near_licences
from chatdoctor_hub.errors import ReleaseFormatError

__all__ = [
    "LicenceFault",
    "corpus_licence_faults",
    "licence_faults",
    "licence_obstacles",
    "own_licence",
]


class LicenceFault(NamedTuple):
    """A licence that is unknown, or in conflict with that of the release.

    Args:
        field: "base_license" or "data".
        whose: "the base model", or the name of a source.
        released: the licence of the release.
        stated: as somebody stated it; "" where nobody did.
        conflict: why the two do not go together; "" where the one stated is not known.
    """

    field: str
    whose: str
    released: str
    stated: str
    conflict: str

    @property
    def error(self) -> str:
        """For whoever releases: "field: expected …, found …"."""
        where = f"{self.field}: the licence of {self.whose}"
        if self.conflict:
            return f"{where}: expected one that allows {self.released}, found a conflict ({self.conflict})"
        return f"{where}: expected a known one, found {self.stated or 'none stated'!r}"

    @property
    def told(self) -> str:
        """For whoever reads the card: a sentence without its full stop."""
        if self.conflict:
            return f"The licence of {self.whose} is in conflict with this release's: {self.conflict}"
        if self.stated:
            return f"The licence of {self.whose} is stated as {self.stated!r}, which is none that is known"
        return f"The licence of {self.whose} is not stated"


def own_licence(licence: str, name: str = "", link: str = "") -> dict[str, str]:
    """The header's keys for the licence of a release.

    Args:
        licence: an id of the Hub or of SPDX; "other" for terms of one's own.
        name: of those terms, with "other".
        link: where they stand.

    Raises:
        ReleaseFormatError: for a licence that is not known, or terms without a name.
    """
    found = find_licence(licence)
    if found is None:
        near = near_licences(licence)
        raise ReleaseFormatError(
            f"license: expected an id of the Hub or of SPDX, found {licence!r}; "
            + (f"did you mean {' or '.join(near)}? " if near else "")
            + "For terms of your own give 'other' and their name."
        )
    if found.id != "other":
        if name:
            raise ReleaseFormatError(
                f"license_name: expected none with the licence {found.id}, found {name!r}; leave it out, or give "
                "the licence 'other'."
            )
        return {"license": found.id}
    if not name.strip():
        raise ReleaseFormatError(
            "license_name: expected the name of your own terms with the licence 'other', found none; give one."
        )
    return {"license": "other", "license_name": name.strip(), **({"license_link": link} if link else {})}


def licence_faults(licence: str, base: str, sources: Iterable[Mapping[str, Any]]) -> list[LicenceFault]:
    """What is unknown or in conflict.

    Args:
        licence: of the release; known.
        base: that of the base model, as it was stated; "" where nobody did.
        sources: of the data, with "name" and "licence".
    """
    return _faults("base_license", "the base model", base, licence) + _data_faults(licence, sources)


def licence_obstacles(licence: str) -> list[str]:
    """What speaks against making public what is released under a licence."""
    found = find_licence(licence)
    if found is None:
        return [f"license: expected a known licence, found {licence or 'none'!r}"]
    return [f"license: {found.id} {found.restricts}"] if found.restricts else []


def corpus_licence_faults(record: Mapping[str, Any]) -> list[str]:
    """What is unknown, in conflict, or speaks against making a corpus public.

    Args:
        record: the content of `corpus.json`.
    """
    licence = str(record.get("licence") or "")
    if find_licence(licence) is None:
        return [f"licence: expected a known licence of the corpus, found {licence or 'none'!r}"]
    sources = [{"name": one} if isinstance(one, str) else one for one in record.get("sources", ())]
    named = [{**source, "licence": source.get("licence") or licence} for source in sources]
    return [fault.error for fault in _data_faults(licence, named)] + licence_obstacles(licence)


def _data_faults(licence: str, sources: Iterable[Mapping[str, Any]]) -> list[LicenceFault]:
    found = [
        fault
        for source in sources
        for fault in _faults("data", str(source["name"]), str(source.get("licence") or ""), licence)
    ]
    return list(dict.fromkeys(found))


def _faults(field: str, whose: str, stated: str, licence: str) -> list[LicenceFault]:
    made_from, released = find_licence(stated), find_licence(licence)
    if made_from is None or released is None:
        return [LicenceFault(field, whose, licence, stated, "")]
    conflict = conflict_between(made_from, released)
    return [LicenceFault(field, whose, released.id, stated, conflict)] if conflict else []
