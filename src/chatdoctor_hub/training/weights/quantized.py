"""Quantized bases (QLoRA, arXiv 2305.14314): what they need, and how they are loaded."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub import models
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.recipe import RecipeConfig

if TYPE_CHECKING:
    import torch

__all__ = ["check_quantization", "load_quantized"]


def check_quantization(config: RecipeConfig) -> None:
    """Refuse a quantized base where this machine cannot have one.

    Raises:
        ConfigError: without a CUDA device or without bitsandbytes.
    """
    import torch

    wanted = config.training.quantization
    if wanted == "none":
        return
    if not torch.cuda.is_available():
        raise ConfigError(
            f"training.quantization: expected 'none' on a machine without a CUDA device, found {wanted!r}; "
            "quantized bases are trained on GPUs only: leave it out or use a machine with one."
        )
    if importlib.util.find_spec("bitsandbytes") is None:
        raise ConfigError(
            f"training.quantization: expected bitsandbytes to be installed for {wanted!r}, found that it is "
            "not; run: pip install bitsandbytes"
        )


def load_quantized(config: RecipeConfig, folder: Path, dtype: torch.dtype, device: Any) -> Any:
    """The base in 4 or 8 bits on its device; products, norms and the head in `dtype`.

    Raises:
        ConfigError: where there cannot be one.
        ModelFormatError: when the files are not those of a causal language model in safetensors.
    """
    check_quantization(config)
    return models.load_quantized(folder, dtype, device, config.training.quantization)
