"""The data card of a corpus: rendered from its record alone, offline, without a word of a dialogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from chatdoctor_hub.cards import NOTICE, card_template_text, fill_card, header_text, keep_edits
from chatdoctor_hub.errors import DataFormatError

__all__ = ["DATA_BLOCKS", "DATA_SECTIONS", "data_card_template", "edited_data_card", "render_data_card"]

DATA_SECTIONS = (
    "Intended use",
    "Out of scope",
    "Sources",
    "What was changed",
    "What was left out",
    "People's identity",
    "Leaks into evaluation",
    "Known limits",
    "Making it again",
    "Contact",
    "Licence",
)
"""What every data card must have, besides the notice at its top."""

DATA_BLOCKS = (NOTICE, "out-of-scope", "sources", "identity", "licence")
_OWN = ("license", "license_name", "task_categories", "tags", "size_categories", "configs")

_SIZES = [(10**power, name) for power, name in ((3, "1K"), (4, "10K"), (5, "100K"), (6, "1M"), (7, "10M"))]
# The ids of the Hub that corpora are likely to have; every other licence is "other" with its own name.
_HUB_LICENCE = re.compile(r"apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[34]\.0|odc-by|odbl|pddl|unknown")
_TEXTS = ("description", "consent", "deidentification", "contact")
_NO_SOURCE = {"licence": "", "url": "", "notes": "", "citation": "", "read": "", "kept": ""}


def render_data_card(record: Mapping[str, Any], template: str | None = None) -> str:
    """README.md of a corpus, with the YAML header that the Hub and `datasets` read.

    The same record gives the same card, byte for byte.

    Args:
        record: the content of `corpus.json`; "files" is not needed. Texts in "extra" under "description",
            "consent", "deidentification" and "contact" stand in the card.
        template: Jinja; by default the one in `model_cards/`.

    Raises:
        DataFormatError: when the record lacks something that the card needs.
    """
    changed = {"read": record["repairs"], **record.get("changes", {})}
    config, extra = record.get("config"), record.get("extra", {})
    try:
        return fill_card(
            template or data_card_template(),
            **{
                name: record[name] for name in ("dialogues", "turns", "counts", "digest", "seed", "made_with")
            },
            **{name: extra.get(name, "") for name in _TEXTS},
            header=_header(record),
            sources=[_source(source) for source in record["sources"]],
            changed={step: kinds for step, kinds in changed.items() if kinds},
            left_out=record["counts"]["read"] - record["counts"]["kept"],
            config=config,
            settings=yaml.safe_dump(config, sort_keys=False, allow_unicode=True).strip() if config else "",
            near=config.get("near_duplicates") if config else None,
            leak_check=record.get("leak_check"),
            licence=record["licence"],
        )
    except LookupError as error:
        raise DataFormatError(
            f"corpus.json: expected every record that the data card names, found one missing ({error}); make "
            "the corpus again."
        ) from error


def edited_data_card(card: str, earlier: str) -> str:
    """The card of an earlier corpus in the same place, with its generated blocks as they are in the new one.

    Raises:
        DataFormatError: when the earlier card's marks are broken.
    """
    try:
        return keep_edits(card, earlier, own=_OWN)
    except ValueError as error:
        raise DataFormatError(
            f"README.md: expected the card of the earlier corpus with its marks whole, found {error}; mend it, or "
            "keep your text elsewhere and delete the file."
        ) from error


def data_card_template() -> str:
    """The text of the card's template: in the wheel beside this module, in a checkout in `model_cards/`."""
    return card_template_text(str(__package__), "dataset.md.jinja")


def _header(record: Mapping[str, Any]) -> str:
    dialogues: Mapping[str, int] = record["dialogues"]
    filled = [name for name, count in dialogues.items() if count]
    header: dict[str, Any] = {
        **({"language": list(record["languages"])} if record.get("languages") else {}),
        **_licence(str(record["licence"])),
        "task_categories": ["text-generation"],
        "tags": ["medical", "dialogue", "chatdoctor-hub"],
        "size_categories": [_size(sum(dialogues.values()))],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in filled],
            }
        ],
    }
    return header_text(header)


def _source(source: Mapping[str, Any] | str) -> dict[str, Any]:
    return _NO_SOURCE | (dict(source) if isinstance(source, Mapping) else {"name": source})


def _licence(licence: str) -> dict[str, str]:
    slug = re.sub(r"[^a-z0-9.]+", "-", licence.lower()).strip("-")
    if _HUB_LICENCE.fullmatch(slug):
        return {"license": slug}
    return {"license": "other", "license_name": slug or "other"}


def _size(dialogues: int) -> str:
    for (limit, name), lower in zip(_SIZES, ["", *(name for _, name in _SIZES)], strict=False):
        if dialogues < limit:
            return f"{lower}<n<{name}" if lower else f"n<{name}"
    return "n>10M"
