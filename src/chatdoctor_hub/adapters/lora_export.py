"""`export_lora`: a linear parallel adapter as the plain LoRA that it equals, for servers that know nothing else."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from chatdoctor_hub.adapters.config import ParallelConfig
from chatdoctor_hub.adapters.layers import ParallelLayer, why_not_mergeable
from chatdoctor_hub.errors import MissingExtraError, ModelFormatError
from chatdoctor_hub.folders import replacing_folder

try:
    from peft import LoraConfig, PeftModel
    from safetensors.torch import save_file
except ImportError:
    raise MissingExtraError("peft", "local") from None

__all__ = ["export_lora"]


def export_lora(model: Any, folder: str | os.PathLike[str], adapter_name: str = "default") -> Path:
    """Write a parallel adapter whose sigma is the identity as a LoRA adapter that any PEFT can load.

    W + s U D is W + (alpha / r) B A with A = D, B = s U and alpha = r: exact, and no larger.

    Args:
        model: a `PeftModel` with the adapter.
        folder: where; whole or not at all.
        adapter_name: which adapter.

    Returns:
        The folder, with `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        ModelFormatError: when the model has no such adapter, or no LoRA equals it.
    """
    config = model.peft_config.get(adapter_name) if isinstance(model, PeftModel) else None
    if not isinstance(config, ParallelConfig):
        raise ModelFormatError(
            f"Expected a PeftModel with a parallel adapter {adapter_name!r}, found "
            f"{'another kind of adapter' if config else 'none of that name'}; only a parallel adapter is a LoRA."
        )
    layers = {name: item for name, item in model.named_modules() if isinstance(item, ParallelLayer)}
    weights = {}
    for name, layer in layers.items():
        if adapter_name not in layer.down:
            continue
        if reason := why_not_mergeable(layer.configs[adapter_name], layer.get_base_layer()):
            raise ModelFormatError(
                f"Expected an adapter that a LoRA equals, found {reason}; ship it as it is."
            )
        scaled = layer.up[adapter_name].weight.detach() * layer.scale(adapter_name)
        weights[f"{name}.lora_A.weight"] = layer.down[adapter_name].weight.detach().clone().contiguous().cpu()
        weights[f"{name}.lora_B.weight"] = scaled.detach().contiguous().cpu()
    size = config.bottleneck_size
    lora = LoraConfig(
        r=size,
        lora_alpha=size,
        target_modules=config.target_modules,
        exclude_modules=config.exclude_modules,
        layers_to_transform=config.layers_to_transform,
        layers_pattern=config.layers_pattern,
        task_type=config.task_type,
        base_model_name_or_path=config.base_model_name_or_path,
        inference_mode=True,
    )
    with replacing_folder(folder, what="LoRA adapter", marker="adapter_config.json") as new:
        lora.save_pretrained(str(new))
        save_file(weights, str(new / "adapter_model.safetensors"), metadata={"format": "pt"})
    return Path(folder)
