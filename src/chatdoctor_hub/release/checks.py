"""`check_folder`: whether a release or a corpus may be published; and what speaks against making it public."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chatdoctor_hub.cards import card_faults, field_faults, find_licence, header_of, parts_of
from chatdoctor_hub.corpus.building.card import DATA_BLOCKS, DATA_SECTIONS, render_data_card
from chatdoctor_hub.errors import DataFormatError, ReleaseFormatError, ReleaseNotFoundError
from chatdoctor_hub.release.card import check_card, render_card
from chatdoctor_hub.release.licences import corpus_licence_faults, licence_faults, licence_obstacles
from chatdoctor_hub.release.manifest import MANIFEST, Manifest, load_manifest
from chatdoctor_hub.release.prepare import CARD

__all__ = ["check_folder", "public_obstacles"]

_CORPUS = "corpus.json"


def check_folder(folder: str | Path) -> None:
    """Refuse a release or a corpus whose card has gaps, placeholders or claims, or whose records do not fit.

    Args:
        folder: of a model release, or a corpus.

    Raises:
        ReleaseNotFoundError: when it is neither.
        ReleaseFormatError, PromptDigestError: naming the field.
    """
    folder = Path(folder)
    manifest, record = _records(folder)
    card = _card(folder)
    if manifest is not None:
        check_card(card, str(folder / CARD))
        _check_blocks(card, render_card(manifest), folder)
        if header_of(card).get("license") != manifest.license:
            raise ReleaseFormatError(
                f"{folder / CARD}: header field 'license': expected {manifest.license} as {MANIFEST} says, found "
                f"{header_of(card).get('license')!r}; prepare the release again with the licence you mean."
            )
        return
    faults = card_faults(card, DATA_SECTIONS, DATA_BLOCKS)
    described = {f"extra, {key}": value for key, value in (record.get("extra") or {}).items()}
    faults += field_faults(described)
    if faults:
        raise ReleaseFormatError(f"{folder / CARD}: {'; '.join(faults)}. Correct the card.")
    try:
        made = render_data_card(record)
    except DataFormatError as error:
        raise ReleaseFormatError(f"{folder / _CORPUS}: {error}") from error
    _check_blocks(card, made, folder)


def public_obstacles(folder: str | Path) -> tuple[str, ...]:
    """Why a release or a corpus should not be made public; empty where nothing is known to speak against it.

    A licence that is unknown, forbids commercial use or works made from it, or is in conflict with another.

    Raises:
        ReleaseNotFoundError, ReleaseFormatError, PromptDigestError: as `load_manifest`.
    """
    manifest, record = _records(Path(folder))
    if manifest is not None:
        stated = [manifest.base.licence, *(source.get("licence", "") for source in _sources(manifest))]
        found = licence_obstacles(manifest.license)
        faults = licence_faults(manifest.license, manifest.base.licence, _sources(manifest))
        found += [fault.error for fault in faults]
        found += [
            fault for licence in stated if find_licence(licence) for fault in licence_obstacles(licence)
        ]
    else:
        found = corpus_licence_faults(record)
    return tuple(dict.fromkeys(found))


def _check_blocks(card: str, made: str, folder: Path) -> None:
    """What is generated must be what the records say: an edit there would be lost, or be a figure made up."""
    recorded = {part.block: part for part in parts_of(made) if part.block}
    for part in parts_of(card):
        if part.block and (part.block not in recorded or recorded[part.block].text != part.text):
            raise ReleaseFormatError(
                f"{folder / CARD}: block {part.block!r}, line {part.line}: expected what the records say, found "
                "another text; write outside the blocks, and make the folder again."
            )


def _sources(manifest: Manifest) -> list[dict[str, Any]]:
    return manifest.corpus.get("sources") or [
        {"name": manifest.corpus.get("source", "the data"), "licence": ""}
    ]


def _records(folder: Path) -> tuple[Manifest | None, dict[str, Any]]:
    if (folder / MANIFEST).is_file():
        return load_manifest(folder), {}
    try:
        record = json.loads((folder / _CORPUS).read_text(encoding="utf-8"))
    except OSError as error:
        raise ReleaseNotFoundError(
            f"{folder}: expected a release ({MANIFEST}) or a corpus ({_CORPUS}), found neither; give the folder "
            "that prepare_release or build_corpus wrote."
        ) from error
    except ValueError as error:
        raise ReleaseFormatError(
            f"{folder / _CORPUS}: expected JSON, found none; make the corpus again."
        ) from error
    if not isinstance(record, dict):
        raise ReleaseFormatError(f"{folder / _CORPUS}: expected a record, found none; make the corpus again.")
    return None, record


def _card(folder: Path) -> str:
    try:
        return (folder / CARD).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ReleaseFormatError(
            f"{folder / CARD}: expected a card, found none that can be read; make the folder again."
        ) from error
