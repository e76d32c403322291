"""How a model was tuned, in words for its card."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.release.manifest import Manifest

__all__ = ["Tuned", "describe_tuning"]

_LEARNED = {
    "doctor": "the {who}'s words and the end of each {who}'s turn",
    "last": "the {who}'s last words and the end of that turn",
    "all": "every token of the text, those of the questions too",
}
_MEDICAL = re.compile(r"(?i)doctor|medic|patient|physician|clinic|health|disease|医|病")
_EXPORTED = {"merged": "Merged weights of an adapter and", "lora": "A LoRA adapter for"}
_VARIANTS = {"lora": "LoRA", "rslora": "Rank-stabilised LoRA", "dora": "DoRA", "pissa": "PiSSA"}


@dataclass(frozen=True)
class Tuned:
    """Words for the card.

    Args:
        what: the kind of release, up to the name of its base: "A LoRA adapter for".
        how: what was trained, with its settings.
        learned: the tokens that the loss counts.
        options: what the recipe did beyond tuning, in sentences; "" for nothing.
        pure: whether nothing of a safety prompt was tuned on.
        medical: whether its task, or what is told of its data, has to do with medicine.
        who: whose words it learned: "doctor" or "assistant".
        needs_import: whether PEFT must be told of the method before it can load the adapter.
    """

    what: str
    how: str
    learned: str
    options: str
    pure: bool
    medical: bool
    who: str
    needs_import: bool


def describe_tuning(manifest: Manifest) -> Tuned:
    """What the records of a release say about its tuning."""
    adapter = manifest.recipe["adapter"]
    kind = adapter.get("kind", "lora")
    exported = manifest.export.get("as", "")
    medical = _is_medical(manifest)
    who = "doctor" if medical else "assistant"
    return Tuned(
        what=_EXPORTED.get(exported) or _what(kind, adapter),
        how=_how(kind, adapter),
        learned=_LEARNED[manifest.recipe["training"].get("loss_on", "doctor")].format(who=who),
        options="".join(_options(manifest.recipe)),
        pure=not manifest.corpus.get("safety"),
        medical=medical,
        who=who,
        needs_import=kind in ("series", "parallel") and not exported,
    )


def _is_medical(manifest: Manifest) -> bool:
    pair, corpus = manifest.prompt_pair, manifest.corpus
    words = [pair.training_text, pair.serving_instruction or "", str(corpus.get("description") or "")]
    words += [str(source["name"]) for source in corpus.get("sources", ())]
    return any(_MEDICAL.search(text) for text in words)


def _what(kind: str, adapter: Mapping[str, Any]) -> str:
    if kind == "full":
        return "All weights, tuned, of"
    name = {"lora": _VARIANTS[adapter.get("variant", "lora")], "prefix": "tuned prefix"}.get(
        kind, f"{kind} adapter"
    )
    return f"A {name}{' adapter' if kind == 'lora' else ''} for"


def _how(kind: str, adapter: Mapping[str, Any]) -> str:
    targets = adapter.get("targets")
    on = (
        "the modules of its family"
        if targets is None
        else targets
        if isinstance(targets, str)
        else ", ".join(targets)
    )
    if kind == "full":
        return "Every weight"
    if kind == "prefix":
        return f"Prefix of {adapter['tokens']} learned keys and values a layer"
    if kind == "lora":
        name = _VARIANTS[adapter.get("variant", "lora")]
        return (
            f"{name} of rank {adapter['r']} (alpha {adapter['alpha']}, dropout {adapter['dropout']}) on {on}"
        )
    size, sigma, scale = adapter["bottleneck_size"], adapter["activation"], adapter["scale"]
    return (
        f"{kind.capitalize()} adapter of bottleneck {size} ({sigma}, scale {scale}, dropout {adapter['dropout']}, "
        f"placement {adapter['placement']}) on {on}"
    )


def _options(recipe: Mapping[str, Any]) -> list[str]:
    said = []
    if mix := recipe.get("safety_mix"):
        said.append(f"Safety dialogues were mixed in, {mix['ratio']} for each dialogue of the data. ")
    if anchor := recipe.get("anchor"):
        said.append(
            f"The first {anchor['tokens']} tokens of each answer were held near the base's (KL, weight "
            f"{anchor['weight']}; arXiv 2406.05946). "
        )
    if recipe.get("safe_lora"):
        said.append(
            "The update was projected afterwards (Safe LoRA, arXiv 2405.16833; contested, 2505.14185). "
        )
    return said
