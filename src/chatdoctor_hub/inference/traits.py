"""What a loaded model can do and where it stops."""

from __future__ import annotations

import inspect
from typing import Any

from chatdoctor_hub.errors import ModelFormatError

__all__ = ["check_generates", "context_length_of", "end_tokens_of", "forward_arguments"]


def forward_arguments(model: Any) -> frozenset[str]:
    """What the model's forward pass takes, by name (peft's wrapper hides it)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return frozenset(inspect.signature(inner.forward).parameters)


def check_generates(model: Any, name: str) -> None:
    """Make sure that the model can be continued token by token.

    Raises:
        ModelFormatError: for a model without a key-value cache (an encoder, a pure state-space model).
    """
    if "past_key_values" not in forward_arguments(model):
        raise ModelFormatError(
            f"{name}: expected a causal language model with a key-value cache, found {type(model).__name__}; "
            "use another model."
        )


def context_length_of(model: Any, tokenizer: Any) -> int | None:
    """Tokens the model can attend to, by its config, else by its tokenizer; None where neither says."""
    config = model.config.get_text_config(decoder=True)
    for name in ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length"):
        length = getattr(config, name, None)
        if isinstance(length, int) and length > 0:
            return length
    # A tokenizer without a limit says so with a number of thirty digits.
    length = getattr(tokenizer, "model_max_length", None)
    return length if isinstance(length, int) and 0 < length < 10**9 else None


def end_tokens_of(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every token that ends the model's turn: of the generation config, the config and the tokenizer."""
    found: set[int] = set()
    for source in (getattr(model, "generation_config", None), model.config, tokenizer):
        for name in ("eos_token_id", "eot_token_id"):
            value = getattr(source, name, None)
            if isinstance(value, int):
                found.add(value)
            elif isinstance(value, (list, tuple)):
                found.update(token for token in value if isinstance(token, int))
    return frozenset(found)
