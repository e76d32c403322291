"""`prepare`: all of a run that needs no weights, checked and encoded; plans and runs start from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.models import digest_of, load_tokenizer, locate, require_extra
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import EncodedData, check_masks, encode_data
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.weights import check_adapter, check_positions

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """What a run starts from.

    Args:
        pair: the prompts.
        folder: of the base model.
        tokenizer: the base's.
        data: the dialogues as token ids, their masks checked.
    """

    pair: PromptPair
    folder: Path
    tokenizer: Any
    data: EncodedData

    @cached_property
    def base_digest(self) -> str:
        """sha256 (hex) of the base's files; gigabytes are read for it, once."""
        return digest_of(self.folder)


def prepare(
    config: RecipeConfig, *, cache: Path | None = None, on_progress: Callable[[int], None] | None = None
) -> Prepared:
    """Check everything that can be known before weights are loaded, and encode the dialogues.

    Args:
        config: the recipe.
        cache: folder for the encoded dialogues; None keeps them as long as they are used.
        on_progress: called with the number of dialogues read so far.

    Raises:
        MissingExtraError: without the packages of the extra "train".
        UnknownPromptError: for a prompt that is not in the catalogue.
        ModelNotFoundError, ModelFormatError: when the base or its tokenizer cannot be used.
        ConfigError: when the adapter does not suit the base or this machine.
        PurityError: when the dialogues carry a safety prompt.
        DataNotFoundError, DataFormatError: when the dialogues cannot be used.
    """
    require_extra("torch", "transformers", "peft", "accelerate", extra="train")
    pair = PromptPair.load(config.prompt)
    folder = locate(config.base)
    tokenizer = load_tokenizer(folder)
    _check_tokenizer(tokenizer, config.base)
    check_adapter(config, folder, tokenizer)
    _check_models(config)
    data = encode_data(config, pair, tokenizer, cache=cache, on_progress=on_progress)
    parts = [part for part in (data.training, data.validation) if len(part)]
    check_positions(config, folder, longest=max(int(part.lengths.max()) for part in parts))
    for part in parts:
        check_masks(part, tokenizer)
    return Prepared(pair, folder, tokenizer, data)


def _check_models(config: RecipeConfig) -> None:
    """Models that are needed after the run: found out before it."""
    chosen = config.safe_lora
    if chosen is None:
        return
    unaligned, aligned = locate(chosen.unaligned), locate(chosen.aligned or config.base)
    if unaligned.resolve() == aligned.resolve():
        raise ConfigError(
            f"safe_lora.unaligned: expected another model than the aligned one ({chosen.aligned or config.base}), "
            f"found {chosen.unaligned}, which is the same; name the base before its alignment."
        )


def _check_tokenizer(tokenizer: Any, base: str) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise ModelFormatError(
            f"{base}: expected a fast tokenizer, whose offsets give exact masks, found a slow one; convert "
            "it to tokenizer.json."
        )
    if tokenizer.eos_token_id is None:
        raise ModelFormatError(
            f"{base}: expected a tokenizer with an eos_token, found none; a model tuned without it never "
            "stops: set one."
        )
