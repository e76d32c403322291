"""The model card: rendered from the manifest alone, offline, by a template; and its checks."""

from __future__ import annotations

import math
import re
from typing import Any

from chatdoctor_hub.cards import NOTICE, card_faults, card_template_text, fill_card, header_text, keep_edits
from chatdoctor_hub.errors import ReleaseFormatError
from chatdoctor_hub.release.evaluation import model_index
from chatdoctor_hub.release.manifest import Manifest
from chatdoctor_hub.release.places import last_name
from chatdoctor_hub.release.sections import others_of, safety_counts, safety_rows
from chatdoctor_hub.release.tuned import describe_tuning

__all__ = ["SECTIONS", "card_template", "check_card", "render_card"]

SECTIONS = (
    "Intended use",
    "Out of scope",
    "How to use",
    "The prompts",
    "Evaluation",
    "Limitations",
    "Data",
    "Training",
    "Contact",
    "Licence",
)
"""What every card must have, besides the notice at its top."""

_BLOCKS = (NOTICE, "out-of-scope", "prompts", "evaluation", "data", "training", "licence")
_HUB_ID = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_REQUIRED = ("prompt", "corpus", "training", "versions", "recipe")
_OWN = (
    "license",
    "license_name",
    "license_link",
    "library_name",
    "pipeline_tag",
    "tags",
    "base_model",
    "base_model_relation",
    "datasets",
    "model-index",
)


def render_card(
    manifest: Manifest, template: str | None = None, *, earlier: str = "", earlier_name: str = ""
) -> str:
    """README.md of a release, with the YAML header that the Hub reads.

    The same manifest gives the same card, byte for byte. What was not measured is said to be not measured.

    Args:
        manifest: the records; every figure in the card comes from them.
        template: Jinja; by default the one in `model_cards/`.
        earlier: the card of an earlier release in the same place, in which people may have written: of it
            only the generated blocks are written anew.
        earlier_name: the name of that release.

    Raises:
        ReleaseFormatError: when a record that the card needs is empty or missing, or the earlier card's marks
            are broken.
    """
    for name in _REQUIRED:
        if not getattr(manifest, name):
            raise ReleaseFormatError(
                f"chatdoctor.json: expected records under {name!r} for the model card, found none; run the "
                "missing step and prepare the release again."
            )
    try:
        card = fill_card(template or card_template(), header=_header(manifest), **_values(manifest))
    except (LookupError, TypeError, StopIteration) as error:
        raise ReleaseFormatError(
            f"chatdoctor.json: expected every record the model card names, found one missing ({error}); "
            "run the missing step and prepare the release again."
        ) from error
    if not earlier:
        return card
    try:
        return keep_edits(card, earlier, own=_OWN, earlier_name=earlier_name)
    except ValueError as error:
        raise ReleaseFormatError(
            f"README.md: expected the card of the earlier release with its marks whole, found {error}; mend it, or "
            "keep your text elsewhere and delete the file."
        ) from error


def check_card(card: str, where: str = "README.md") -> None:
    """Refuse a card with gaps.

    Raises:
        ReleaseFormatError: naming every section that is missing or empty, every placeholder, and every claim
            that the model diagnoses or complies with the rules for medical devices.
    """
    if faults := card_faults(card, SECTIONS, _BLOCKS):
        raise ReleaseFormatError(
            f"{where}: {'; '.join(faults)}. Correct the card and prepare the release again."
        )


def card_template() -> str:
    """The text of the card's template: in the wheel beside this module, in a checkout in `model_cards/`."""
    return card_template_text("chatdoctor_hub.release", "model.md.jinja")


def _values(manifest: Manifest) -> dict[str, Any]:
    safety = safety_rows(manifest.metrics)
    corpus, training = manifest.corpus, manifest.training
    loss, is_on_hub = training.get("validation_loss"), bool(_HUB_ID.fullmatch(manifest.base.id))
    return {
        "manifest": manifest,
        "pair": manifest.prompt_pair,
        "metrics": manifest.metrics,
        "tuned": describe_tuning(manifest),
        "safety": safety,
        "safety_n": safety_counts(safety),
        "has_safety": bool(safety),
        "others": others_of(manifest.metrics),
        "course": {
            "validation_loss": loss,
            "perplexity": math.exp(min(loss, 700)) if loss is not None else None,
            "probes": training.get("probes", ()),
        },
        "sources": corpus.get("sources")
        or [{"name": corpus["source"], "licence": "", "url": "", "revision": ""}],
        "deidentification": corpus.get("deidentification")
        or "not recorded; names, numbers and addresses of people may stand in the data.",
        "base_name": manifest.base.id if is_on_hub else last_name(manifest.base.id),
        "is_base_on_hub": is_on_hub,
        "base_licence": manifest.base.licence,
        "licence_faults": manifest.licence_faults,
        "released": _released(manifest),
        "exported": _exported(manifest),
    }


def _released(manifest: Manifest) -> str:
    if manifest.license != "other":
        return manifest.license
    return f"{manifest.license_name}{f' ({manifest.license_link})' if manifest.license_link else ''}"


def _exported(manifest: Manifest) -> str:
    """How weights that are not those of the run were made, and what they are worth."""
    made, report = manifest.export.get("as"), manifest.export.get("report", {})
    if made == "merged":
        return (
            f"The adapter was merged into the base's weights ({report['dtype']}): in float32 the logits differ by "
            f"{report['exact']['relative']:.1e} (relative) from those of base and adapter, as saved by "
            f"{report['saved']['relative']:.1e}, which is {report['saved']['update']:.2g} times what the tuning "
            f"changes. {report['note']}".rstrip()
        )
    if made == "lora":
        return (
            "The parallel adapter is linear and was written as the LoRA that it equals: the logits differ by "
            f"{report['exact']['relative']:.1e} (relative)."
        )
    return ""


def _header(manifest: Manifest) -> str:
    is_adapter, kind = manifest.weights == "adapter", manifest.recipe["adapter"].get("kind", "lora")
    kind = "lora" if manifest.export.get("as") == "lora" else kind
    tuned = describe_tuning(manifest)
    own = {"license_name": manifest.license_name, "license_link": manifest.license_link}
    header: dict[str, Any] = {
        "language": list(manifest.corpus.get("languages") or ["en"]),
        "license": manifest.license,
        **{key: value for key, value in own.items() if value},
        "library_name": "peft" if is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": [
            *(["medical"] if tuned.medical else []),
            "dialogue",
            *([kind] if is_adapter else []),
            *(["ptst"] if tuned.pure and manifest.prompt_pair.safety else []),
            "chatdoctor-hub",
        ],
    }
    # A folder of this machine is no model that the Hub could link to.
    if _HUB_ID.fullmatch(manifest.base.id):
        header["base_model"] = manifest.base.id
        header["base_model_relation"] = "adapter" if is_adapter else "finetune"
    datasets = [source["hub_id"] for source in manifest.corpus.get("sources", ()) if source.get("hub_id")]
    if datasets:
        header["datasets"] = list(dict.fromkeys(datasets))
    if index := model_index(manifest):
        header["model-index"] = index
    return header_text(header)
