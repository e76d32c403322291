"""The data card of a corpus: rendered from its record alone, offline, without a word of a dialogue."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from chatdoctor_hub.errors import DataFormatError

__all__ = ["data_card_template", "render_data_card"]

_SIZES = [(10**power, name) for power, name in ((3, "1K"), (4, "10K"), (5, "100K"), (6, "1M"), (7, "10M"))]
# The ids of the Hub that corpora are likely to have; every other licence is "other" with its own name.
_HUB_LICENCE = re.compile(r"apache-2\.0|mit|cc0-1\.0|cc-by(-nc)?(-sa|-nd)?-[34]\.0|odc-by|odbl|pddl|unknown")
_NO_SOURCE = {"licence": "", "url": "", "notes": "", "citation": "", "read": "", "kept": ""}


def render_data_card(record: Mapping[str, Any], template: str | None = None) -> str:
    """README.md of a corpus, with the YAML header that the Hub and `datasets` read.

    The same record gives the same card, byte for byte.

    Args:
        record: the content of `corpus.json`; "files" is not needed.
        template: Jinja; by default the one in `model_cards/`.

    Raises:
        DataFormatError: when the record lacks something that the card needs.
    """
    from jinja2 import Environment, StrictUndefined, UndefinedError

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["cell"] = _cell
    environment.filters["count_of"] = lambda count: f"{count:,}" if isinstance(count, int) else ""
    changed = {"read": record["repairs"], **record.get("changes", {})}
    config = record.get("config")
    try:
        return environment.from_string(template or data_card_template()).render(
            **{
                name: record[name] for name in ("dialogues", "turns", "counts", "digest", "seed", "made_with")
            },
            header=_header(record),
            sources=[_NO_SOURCE | dict(source) for source in record["sources"]],
            description=record.get("extra", {}).get("description", ""),
            changed={step: kinds for step, kinds in changed.items() if kinds},
            left_out=record["counts"]["read"] - record["counts"]["kept"],
            config=config,
            settings=yaml.safe_dump(config, sort_keys=False, allow_unicode=True).strip() if config else "",
            near=config.get("near_duplicates") if config else None,
            leak_check=record.get("leak_check"),
            licence=record["licence"],
        )
    except (UndefinedError, KeyError) as error:
        raise DataFormatError(
            f"corpus.json: expected every record that the data card names, found one missing ({error}); make "
            "the corpus again."
        ) from error


def data_card_template() -> str:
    """The text of the card's template: in the wheel beside this module, in a checkout in `model_cards/`."""
    shipped = resources.files(__package__).joinpath("model_cards/dataset.md.jinja")
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[4] / "model_cards" / "dataset.md.jinja").read_text(encoding="utf-8")


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
    return str(yaml.safe_dump(header, sort_keys=False, allow_unicode=True)).strip()


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


def _cell(text: object) -> str:
    """Text that stays in its cell of a Markdown table."""
    return " ".join(str(text).split()).replace("|", "\\|")
