"""What of a recipe does not go together, though each setting is right in itself."""

from __future__ import annotations

import os.path
from collections.abc import Iterator
from typing import Any

from chatdoctor_hub.training.recipe.strict import Rule

__all__ = ["CONFLICTS"]

_SWITCHED_OFF = ("lora", "series", "parallel")  # adapters without which the base is as it was


def _the_anchor_has_a_reference(recipe: Any) -> Iterator[str]:
    if recipe.anchor is None:
        return
    if recipe.adapter.kind not in _SWITCHED_OFF:
        yield (
            "anchor: input should be left out where nothing can be switched off to get the untuned model, "
            f"found adapter.kind {recipe.adapter.kind!r} (lora, series and parallel can be)"
        )
    elif recipe.adapter.kind == "lora" and recipe.adapter.variant == "pissa":
        yield (
            "anchor: input should be left out with adapter.variant 'pissa', which takes its start out of the "
            "base's weights, found both"
        )
    if recipe.training.loss_on == "all":
        yield (
            "anchor: input should be left out where training.loss_on is 'all', whose first learned tokens are "
            "those of the prompt, found both (loss_on 'doctor' or 'last' go with it)"
        )


def _safe_lora_is_for_lora(recipe: Any) -> Iterator[str]:
    if recipe.safe_lora is None:
        return
    if recipe.adapter.kind != "lora":
        yield (
            "safe_lora: input should be left out unless adapter.kind is 'lora', whose updates it projects, "
            f"found {recipe.adapter.kind!r}"
        )
    elif recipe.adapter.variant in ("dora", "pissa"):
        yield (
            "safe_lora: input should be left out unless adapter.variant is 'lora' or 'rslora', whose update "
            f"is the product of its matrices, found {recipe.adapter.variant!r}"
        )


def _quantization_has_an_adapter(recipe: Any) -> Iterator[str]:
    kind, quantization = recipe.adapter.kind, recipe.training.quantization
    if quantization == "none":
        return
    if kind not in _SWITCHED_OFF:
        yield (
            "training.quantization: input should be 'none' unless adapter.kind is 'lora', 'series' or "
            f"'parallel', found {quantization!r} with {kind!r}"
        )
    elif kind == "lora" and recipe.adapter.variant == "pissa":
        yield (
            "training.quantization: input should be 'none' with adapter.variant 'pissa', which decomposes "
            f"the base's weights, found {quantization!r}"
        )
    elif kind == "lora" and recipe.adapter.variant == "dora" and quantization == "8bit":
        yield (
            "training.quantization: input should be 'none' or '4bit' with adapter.variant 'dora', whose norms "
            "PEFT cannot take of weights in 8 bits, found '8bit'"
        )


def _prefixes_are_not_recomputed(recipe: Any) -> Iterator[str]:
    if recipe.adapter.kind == "prefix" and recipe.training.checkpointing == "on":
        yield (
            "training.checkpointing: input should be 'auto' or 'off' with adapter.kind 'prefix', whose keys "
            "and values recomputed layers do not get, found 'on'"
        )


def _there_is_something_to_validate_with(recipe: Any) -> Iterator[str]:
    if recipe.validation is not None or recipe.training.validation_share > 0:
        return
    for name, is_asked in (("keep_best", bool), ("patience", lambda value: value is not None)):
        if is_asked(getattr(recipe.training, name)):
            yield (
                f"training.{name}: input should be left out where nothing is validated with, found "
                f"{getattr(recipe.training, name)!r} with no validation and training.validation_share 0"
            )


def _only_linear_adapters_merge(recipe: Any) -> Iterator[str]:
    asked = [name for name in ("merge", "gguf") if getattr(recipe.after, name)]
    if not asked:
        return
    if reason := _why_not_merged(recipe.adapter):
        for name in asked:
            if name == "merge" or recipe.adapter.kind != "full":
                yield (
                    f"after.{name}: input should be left out with {reason}, found {getattr(recipe.after, name)!r}"
                )


def _why_not_merged(adapter: Any) -> str:
    if adapter.kind == "prefix":
        return "adapter.kind 'prefix', which changes no weight that could be merged"
    if adapter.kind == "full":
        return "adapter.kind 'full', whose weights are whole already"
    if adapter.kind == "parallel" and adapter.placement == "block":
        return "a parallel adapter of placement 'block', which no single weight can take up"
    if adapter.kind in ("series", "parallel") and adapter.activation != "identity":
        return f"adapter.activation {adapter.activation!r}, since only 'identity' can be merged into a weight"
    return ""


def _the_output_is_a_place_of_its_own(recipe: Any) -> Iterator[str]:
    out = os.path.normpath(recipe.output)
    if out == os.path.normpath(recipe.base):
        yield f"output: input should be another folder than base, found {recipe.output!r} for both"
    if any(out == os.path.normpath(source.path) for source in recipe.data):
        yield f"output: input should be another folder than those of data, found {recipe.output!r} for both"


CONFLICTS: tuple[Rule, ...] = (
    _the_anchor_has_a_reference,
    _safe_lora_is_for_lora,
    _quantization_has_an_adapter,
    _prefixes_are_not_recomputed,
    _there_is_something_to_validate_with,
    _only_linear_adapters_merge,
    _the_output_is_a_place_of_its_own,
)
"""Asked of every recipe; each names the setting to change, what is allowed and what was found."""
