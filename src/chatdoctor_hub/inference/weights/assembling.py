"""`load_models`: what was planned, in memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.inference.types import Quantization
from chatdoctor_hub.inference.weights.adapted import BARE, AdaptedModel, AdaptedModels
from chatdoctor_hub.inference.weights.adapter_loading import load_adapter
from chatdoctor_hub.inference.weights.bases import Base
from chatdoctor_hub.inference.weights.parts import adapter_config
from chatdoctor_hub.inference.weights.planning import AdapterPlace, ModelPlan
from chatdoctor_hub.inference.weights.quantizing import check_plain, check_quantization
from chatdoctor_hub.models import load_model, load_quantized, load_tokenizer
from chatdoctor_hub.prompts import FORMS, PromptPair

if TYPE_CHECKING:
    from pathlib import Path

    import torch

__all__ = ["Loaded", "load_models"]


@dataclass(frozen=True)
class Loaded:
    """Models in memory, and the tokenizer that they have in common."""

    models: AdaptedModels
    tokenizer: Any


def load_models(
    plan: ModelPlan, device: torch.device, dtype: torch.dtype, quantization: Quantization | None = None
) -> Loaded:
    """Load what `plan_models` found: the base once, each adapter over it; safetensors only, no foreign code.

    Args:
        plan: what to load.
        device: where to.
        dtype: of what is not quantized.
        quantization: of the base; adapters stay as they are.

    Raises:
        ModelFormatError: when the files are not those of a causal language model with a tokenizer, or an
            adapter does not fit the base.
        ConfigError: when an adapter was made for another base or tokenizer, or quantization is not possible.
        MissingExtraError: when peft or bitsandbytes is needed and not installed.
    """
    parts = plan.parts
    check_quantization(quantization, device)
    for folder in (parts.adapter, *(place.weights for place in plan.adapters)):
        _check_dora(folder, quantization, device)
    base = Base(parts.base, parts.base_digest)
    for place in plan.adapters:
        _check_base(place, base)
    tokenizer = load_tokenizer(parts.folder if _has_tokenizer(parts.folder) else parts.base)
    for place in plan.adapters:
        _check_tokenizer(place, tokenizer, plan.pair)
    if quantization is None:
        model = load_model(parts.base, dtype).to(device)
    else:
        check_plain(parts.base, quantization)
        model = load_quantized(parts.base, dtype, device, quantization)
    _check_rows(model, tokenizer, parts.folder)
    models = {BARE: AdaptedModel.of(model, str(parts.base))}
    if parts.adapter is not None:
        models[plan.name] = load_adapter(model, parts.adapter)
    models.update({place.name: load_adapter(model, place.weights) for place in plan.adapters})
    default = plan.name if parts.adapter is not None else BARE
    return Loaded(AdaptedModels(models, default, plan.name, parts.base_name), tokenizer)


def _check_base(place: AdapterPlace, base: Base) -> None:
    if other := base.why_another(place.claim):
        raise ConfigError(
            f"adapters: expected {place.name!r} ({place.folder}) to be made for the base in {base.folder}, found "
            f"that it was made for {other}; make an engine for that base."
        )


def _check_dora(folder: Path | None, quantization: str | None, device: torch.device) -> None:
    """PEFT 0.21 loses the scales of 8-bit weights on a CPU when DoRA has read them."""
    if folder is None or quantization != "8bit" or device.type != "cpu":
        return
    if adapter_config(folder).get("use_dora"):
        raise ConfigError(
            f"{folder}: expected an adapter that PEFT can compute over a base in 8 bits on a CPU, found DoRA; use "
            "quantization='4bit', or none."
        )


def _has_tokenizer(folder: Path) -> bool:
    return any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
    )


def _check_tokenizer(place: AdapterPlace, tokenizer: Any, pair: PromptPair) -> None:
    """An adapter answers as it does alone only if its own tokenizer would make the same tokens."""
    if not _has_tokenizer(place.folder):
        return
    own = load_tokenizer(place.folder)
    if own.get_vocab() != tokenizer.get_vocab():
        differs = "other tokens"
    elif any(pair.template(own, form) != pair.template(tokenizer, form) for form in FORMS):
        differs = "another chat template"
    else:
        return
    raise ConfigError(
        f"adapters: expected {place.name!r} ({place.folder}) to have the tokenizer of the model, found one with "
        f"{differs}; make an engine of its own for it."
    )


def _check_rows(model: Any, tokenizer: Any, folder: Path) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelFormatError(
            f"{folder}: expected a tokenizer of at most {rows} tokens, as many as the model knows, "
            f"found {len(tokenizer)}; the tokenizer belongs to another model."
        )
