"""What can be known of base and adapter from `config.json` alone: faults and counts, on the meta device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.models import first_line, load_tokenizer, require_extra
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.weights.methods import attach, trainable_of
from chatdoctor_hub.training.weights.quantized import check_quantization

__all__ = ["check_adapter", "check_positions", "check_vocabulary", "count_parameters", "shape_of"]


def check_adapter(config: RecipeConfig, folder: Path, tokenizer: Any = None) -> None:
    """Refuse what cannot work, before any weight is loaded.

    Args:
        config: the recipe.
        folder: of the base model.
        tokenizer: the base's; None loads it.

    Raises:
        ConfigError: when this machine cannot quantize, a target is no module of the model (near ones are
            named), the model's family has no default targets, or PEFT cannot adapt such a model.
        ModelFormatError: when the folder holds no causal language model, or the tokenizer is another's.
    """
    require_extra("torch", "transformers", "peft", extra="train")
    check_quantization(config)
    model = shape_of(folder)
    check_vocabulary(model, load_tokenizer(folder) if tokenizer is None else tokenizer, config.base)
    _check_rank(config, model)
    _count(model, config)


def count_parameters(config: RecipeConfig, folder: Path) -> tuple[int, int]:
    """(trained, all) parameters of the model with the recipe's adapter; tied weights count once.

    Raises:
        ConfigError, ModelFormatError: as `check_adapter`.
    """
    require_extra("torch", "transformers", "peft", extra="train")
    return _count(shape_of(folder), config)


def check_positions(config: RecipeConfig, folder: Path, longest: int) -> None:
    """Refuse dialogues that are longer than the base has positions for.

    Args:
        config: the recipe; the tokens of a prefix count.
        folder: of the base model.
        longest: tokens of the longest dialogue, once encoded.

    Raises:
        ConfigError: naming the longest that is possible.
    """
    positions = getattr(_read_config(folder), "max_position_embeddings", None)
    prefix = config.adapter.tokens if config.adapter.kind == "prefix" else 0
    if positions and longest + prefix > positions:
        raise ConfigError(
            f"training.max_length: expected at most {positions - prefix}, the positions of {config.base}"
            f"{f' less the prefix of {prefix}' if prefix else ''}, found a dialogue of {longest} tokens; lower it."
        )


def check_vocabulary(model: Any, tokenizer: Any, base: str) -> None:
    """Refuse a tokenizer with more tokens than the model has embeddings.

    Raises:
        ModelFormatError: it belongs to another model.
    """
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelFormatError(
            f"{base}: expected a tokenizer of at most {rows} tokens, found {len(tokenizer)}; the tokenizer "
            "belongs to another model."
        )


def shape_of(folder: Path) -> Any:
    """The causal language model of a folder on the meta device: every module, no values.

    Raises:
        ModelFormatError: when `config.json` is not one of a causal language model that transformers knows.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = _read_config(folder)
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    # Whatever a model's own code makes of sizes that do not go together.
    except Exception as error:
        raise ModelFormatError(
            f"{folder}: expected the config of a causal language model, found one of type "
            f"{config.model_type!r} that transformers cannot build ({first_line(error)}); use another base."
        ) from error


def _read_config(folder: Path) -> Any:
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(folder, local_files_only=True)
    except Exception as error:
        raise ModelFormatError(
            f"{folder}: expected the config.json of a causal language model, found none that transformers can "
            f"read ({first_line(error)}); check the folder or use another base."
        ) from error


def _count(model: Any, config: RecipeConfig) -> tuple[int, int]:
    if config.adapter.kind == "full":
        everything = sum(parameter.numel() for parameter in model.parameters())
        return everything, everything
    adapted = attach(model, config, empty=True)
    trained = sum(parameter.numel() for parameter in trainable_of(adapted))
    return trained, sum(parameter.numel() for parameter in adapted.parameters())


def _check_rank(config: RecipeConfig, model: Any) -> None:
    """PiSSA starts from singular vectors, of which a matrix has no more than its smaller side."""
    adapter = config.adapter
    if adapter.kind != "lora" or adapter.variant != "pissa":
        return
    targets = None if isinstance(adapter.targets, str) else tuple(adapter.targets)
    head = model.get_output_embeddings()
    sides = [
        min(module.weight.shape)
        for name, module in model.named_modules()
        if type(module).__name__ in ("Linear", "Conv1D")
        and (module is not head if targets is None else name.rpartition(".")[2] in targets)
    ]
    if sides and adapter.r > min(sides):
        raise ConfigError(
            f"adapter.r: expected at most {min(sides)} with adapter.variant 'pissa', the smaller side of a "
            f"target's weight, found {adapter.r}; lower it."
        )
