"""The model card: rendered from the manifest alone, offline, by a template."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from chatdoctor_hub.errors import ReleaseFormatError
from chatdoctor_hub.release.manifest import Manifest
from chatdoctor_hub.release.tuned import describe_tuning

__all__ = ["card_template", "render_card"]

_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_REQUIRED = ("prompt", "corpus", "training", "metrics", "versions", "recipe")


def render_card(manifest: Manifest, template: str | None = None) -> str:
    """README.md of a release, with the YAML header that the Hub reads.

    The same manifest gives the same card, byte for byte.

    Args:
        manifest: the records; every figure in the card comes from them.
        template: Jinja; by default the one in `model_cards/`.

    Raises:
        ReleaseFormatError: when a record that the card needs is empty or missing.
    """
    from jinja2 import Environment, StrictUndefined, UndefinedError

    for name in _REQUIRED:
        if not getattr(manifest, name):
            raise ReleaseFormatError(
                f"chatdoctor.json: expected records under {name!r} for the model card, found none; run the "
                "missing step and prepare the release again."
            )
    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["percent"] = lambda share: f"{100 * share:.1f} %"
    try:
        return environment.from_string(template or card_template()).render(
            header=_header(manifest),
            manifest=manifest,
            pair=manifest.prompt_pair,
            metrics=manifest.metrics,
            tuned=describe_tuning(manifest),
        )
    except (UndefinedError, KeyError) as error:
        raise ReleaseFormatError(
            f"chatdoctor.json: expected every record the model card names, found one missing ({error}); "
            "run the missing step and prepare the release again."
        ) from error


def card_template() -> str:
    """The text of the card's template: in the wheel beside this module, in a checkout in `model_cards/`."""
    shipped = resources.files("chatdoctor_hub.release").joinpath("model_cards/model.md.jinja")
    if shipped.is_file():
        return shipped.read_text(encoding="utf-8")
    return (Path(__file__).parents[3] / "model_cards" / "model.md.jinja").read_text(encoding="utf-8")


def _header(manifest: Manifest) -> str:
    is_adapter, kind = manifest.weights == "adapter", manifest.recipe["adapter"].get("kind", "lora")
    pure = describe_tuning(manifest).pure
    header: dict[str, Any] = {
        "language": ["en"],
        "license": manifest.license,
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": [
            "medical",
            "dialogue",
            *([kind] if is_adapter else []),
            *(["ptst"] if pure else []),
            "chatdoctor-hub",
        ],
    }
    # A folder of this machine is no model that the Hub could link to.
    if not manifest.base.path and _HUB_ID.fullmatch(manifest.base.id):
        header["base_model"] = manifest.base.id
        header["base_model_relation"] = "adapter" if is_adapter else "finetune"
    return str(yaml.safe_dump(header, sort_keys=False)).strip()
