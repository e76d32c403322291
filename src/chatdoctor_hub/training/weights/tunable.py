"""`load_tunable`: a base with what is trained of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.models import load_model, without_bars
from chatdoctor_hub.training.recipe import RecipeConfig
from chatdoctor_hub.training.weights.methods import attach
from chatdoctor_hub.training.weights.pissa import PissaStart
from chatdoctor_hub.training.weights.quantized import load_quantized

if TYPE_CHECKING:
    import torch

__all__ = ["load_tunable"]


@without_bars()
def load_tunable(config: RecipeConfig, folder: Path, dtype: torch.dtype, device: torch.device | str) -> Any:
    """A base with a new adapter of the recipe's kind, or with every weight trainable.

    Trained parameters are float32, whatever the passes compute in: small steps are lost in half precision.
    Frozen ones are loaded in `dtype` straight away. The start of the adapter is a function of the recipe's
    seed alone; the global random state is left as it was.

    Args:
        config: the recipe, checked (`check_adapter`).
        folder: of the base model.
        dtype: of the frozen weights, that of the passes.
        device: where to.

    Raises:
        ConfigError: when the adapter does not suit the base, or the base cannot be quantized here.
        ModelFormatError: when the base is not whole.
    """
    import torch

    is_full = config.adapter.kind == "full"
    if config.training.quantization != "none":
        model = load_quantized(config, folder, dtype, device)
    else:
        model = load_model(folder, torch.float32 if is_full else dtype)
    if is_full:
        return model.requires_grad_(True).to(device)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        model = attach(model, config)
    if config.adapter.kind == "lora" and config.adapter.variant == "pissa":
        model.pissa_start = PissaStart(_adapter_state(model))
    return model if config.training.quantization != "none" else model.to(device)


def _adapter_state(model: Any) -> Any:
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model, save_embedding_layers=False)
