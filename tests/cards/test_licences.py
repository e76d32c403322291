"""The table of licences: spellings, families, and what goes with what."""

from __future__ import annotations

import pytest

from chatdoctor_hub.cards import conflict_between, find_licence, near_licences


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("apache-2.0", "apache-2.0"),
        ("Apache License 2.0", "apache-2.0"),
        ("CC BY-NC 4.0", "cc-by-nc-4.0"),
        ("CC-BY-NC-ND-4.0", "cc-by-nc-nd-4.0"),
        ("GPL-3.0-or-later", "gpl-3.0"),
        ("AGPL-3.0-only", "agpl-3.0"),
        ("ODbL-1.0", "odbl"),
        ("MIT License", "mit"),
        ("Llama 3.1", "llama3.1"),
        ("openrail++", "openrail++"),
    ],
)
def test_spellings(text: str, id: str) -> None:
    found = find_licence(text)
    assert found is not None
    assert found.id == id


@pytest.mark.parametrize(
    "text", ["", "unknown", "none given; check before use", "apache", "研究", "all rights reserved"]
)
def test_what_names_no_licence(text: str) -> None:
    assert find_licence(text) is None


def test_near_ones_are_named() -> None:
    assert "apache-2.0" in near_licences("apache2")


@pytest.mark.parametrize(
    ("made_from", "released", "said"),
    [
        ("mit", "apache-2.0", ""),
        ("cc-by-4.0", "llama3.1", ""),
        ("apache-2.0", "cc-by-nc-4.0", ""),
        ("cc-by-nc-4.0", "apache-2.0", "forbids commercial use, which apache-2.0 allows"),
        ("cc-by-nc-4.0", "cc-by-nc-sa-4.0", ""),
        ("cc-by-nc-4.0", "other", ""),
        ("cc-by-sa-4.0", "apache-2.0", "asks for cc-by-sa-4.0 or gpl-3.0"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0", ""),
        ("cc-by-sa-3.0", "cc-by-sa-4.0", ""),
        ("gpl-3.0", "mit", "asks for gpl-3.0"),
        ("cc-by-nd-4.0", "cc-by-nd-4.0", "forbids to pass on"),
        ("cc-by-nc-nd-4.0", "cc-by-nc-4.0", "forbids to pass on"),
        ("llama3.1", "apache-2.0", "has terms of its own"),
        ("llama3.1", "llama3.1", ""),
        ("llama3.1", "other", ""),
        ("gemma", "llama3.1", "has terms of its own"),
    ],
)
def test_what_goes_with_what(made_from: str, released: str, said: str) -> None:
    one, other = find_licence(made_from), find_licence(released)
    assert one is not None
    assert other is not None
    reason = conflict_between(one, other)
    assert (said in reason) if said else reason == ""


def test_every_licence_of_the_table_is_found_under_its_own_id() -> None:
    from chatdoctor_hub.cards.licences import _table

    ids = {id for ids in _table()["families"].values() for id in ids}
    assert all(find_licence(id).id == id for id in ids)  # type: ignore[union-attr]
    assert set(_table()["aliases"].values()) <= ids
    for id, others in _table()["compatible"].items():
        assert {id, *others} <= ids
