"""The licences of a release: its own, its base model's and its data's, and whether they go together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from chatdoctor_hub.cards import conflict_between, find_licence, near_licences
from chatdoctor_hub.errors import ReleaseFormatError

__all__ = ["corpus_licence_faults", "licence_faults", "licence_obstacles", "own_licence"]


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


def licence_faults(licence: str, base: str, sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """What is unknown or in conflict, each as "field: expected …, found …".

    Args:
        licence: of the release; known.
        base: that of the base model, as it was stated; "" where nobody did.
        sources: of the data, with "name" and "licence".
    """
    faults = _faults("base_license: the licence of the base model", base, licence)
    return faults + _data_faults(licence, sources)


def licence_obstacles(licence: str) -> list[str]:
    """What speaks against making public what is released under a licence."""
    found = find_licence(licence)
    if found is None:
        return [f"license: expected a known licence, found {licence or 'none'!r}"]
    return [f"license: {found.id} {found.restricts}"] if found.restricts else []


def corpus_licence_faults(record: Mapping[str, Any]) -> list[str]:
    """What is unknown or in conflict in a corpus.

    Args:
        record: the content of `corpus.json`.
    """
    licence = str(record.get("licence") or "")
    if find_licence(licence) is None:
        return [f"licence: expected a known licence of the corpus, found {licence or 'none'!r}"]
    named = [{**source, "licence": source.get("licence") or licence} for source in record.get("sources", ())]
    return _data_faults(licence, named)


def _data_faults(licence: str, sources: Iterable[Mapping[str, Any]]) -> list[str]:
    found = [
        fault
        for source in sources
        for fault in _faults(
            f"data: the licence of {source['name']}", str(source.get("licence") or ""), licence
        )
    ]
    return list(dict.fromkeys(found))


def _faults(where: str, stated: str, licence: str) -> list[str]:
    made_from, released = find_licence(stated), find_licence(licence)
    if made_from is None or released is None:
        return [f"{where}: expected a known one, found {stated or 'none stated'!r}"]
    reason = conflict_between(made_from, released)
    return [f"{where}: expected one that allows {released.id}, found a conflict ({reason})"] if reason else []
