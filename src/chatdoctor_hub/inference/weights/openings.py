"""Virtual tokens: what prefix tuning, prompt tuning and p-tuning put before every prompt, as a cache to start from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ModelFormatError

if TYPE_CHECKING:
    import torch

__all__ = ["Opening", "has_virtual_tokens", "opening_of"]

_PREFIX = ("PREFIX_TUNING", "CARTRIDGE")
_PROMPT = ("PROMPT_TUNING", "P_TUNING")


@dataclass(frozen=True)
class Opening:
    """Keys and values of virtual tokens in each layer, each (1, heads, tokens, width).

    Args:
        layers: one pair a layer.
        config: the model's, which says what kind of cache each layer has.
    """

    layers: tuple[tuple[torch.Tensor, torch.Tensor], ...]
    config: Any

    @property
    def tokens(self) -> int:
        """How many virtual tokens there are."""
        return int(self.layers[0][0].shape[-2])

    def cache(self) -> Any:
        """A new cache of one row that holds them; the row's own tokens count on from `tokens`."""
        from transformers import DynamicCache

        cache = DynamicCache(config=self.config)
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys, values, number)
        return cache


def has_virtual_tokens(model: Any) -> bool:
    """Whether a model of peft puts virtual tokens before each prompt."""
    config = getattr(model, "active_peft_config", None)
    return bool(config is not None and config.is_prompt_learning)


def opening_of(model: Any, name: str) -> Opening:
    """The virtual tokens of a model of peft (arXiv 2101.00190 in each layer; 2104.08691, 2103.10385 in the first).

    PEFT's own forward pass puts them in the place of the cache at each step, so a decode loop would lose what
    it has read; as an opening they are computed once, and the bare model goes on from there.

    Args:
        model: a `PeftModel` with such an adapter active.
        name: what the adapter is called, for messages.

    Raises:
        ModelFormatError: for a method whose virtual tokens depend on the request.
    """
    import torch
    from transformers import DynamicCache

    kind = str(getattr(model.active_peft_config.peft_type, "value", model.active_peft_config.peft_type))
    base = model.get_base_model()
    with torch.no_grad():
        if kind in _PREFIX:
            cache = model.get_prompt(1)
        elif kind in _PROMPT:
            words = model.get_prompt(1).to(base.get_input_embeddings().weight.dtype)
            cache = DynamicCache(config=base.config)
            base(inputs_embeds=words, past_key_values=cache, use_cache=True)
        else:
            raise ModelFormatError(
                f"{name}: expected an adapter whose virtual tokens are the same for every prompt, found one of "
                f"PEFT's method {kind}; serve it by other means."
            )
    dtype = base.dtype
    layers = tuple((layer.keys.to(dtype).clone(), layer.values.to(dtype).clone()) for layer in cache.layers)
    return Opening(layers, base.config)
