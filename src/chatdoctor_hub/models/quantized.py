"""Models in 4 or 8 bits: a quarter or half of the memory, by bitsandbytes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.models.loading import load_model

if TYPE_CHECKING:
    import torch

__all__ = ["load_quantized"]


def load_quantized(folder: Path, dtype: torch.dtype, device: torch.device | str, quantization: str) -> Any:
    """The causal language model in a folder, quantized while it is read; on its device, in evaluation mode.

    Linear layers are quantized, but for the head; embeddings, norms and products are of `dtype`.

    Args:
        folder: where its files are.
        dtype: of what is not quantized.
        device: where it goes.
        quantization: "4bit": NF4 with doubly quantized scales (QLoRA, arXiv 2305.14314); "8bit": LLM.int8()
            (arXiv 2208.07339).

    Raises:
        ModelFormatError: when the files are not those of a causal language model in safetensors, whole.
    """
    from transformers import BitsAndBytesConfig

    bits = (
        BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        if quantization == "4bit"
        else BitsAndBytesConfig(load_in_8bit=True)
    )
    model = load_model(folder, dtype, quantization_config=bits, device_map={"": device})
    _forget_hooks(model)
    _pack_only_what_fits(model)
    return model


def _forget_hooks(model: Any) -> None:
    """Hooks of accelerate move tensors between devices; here all are on one, and hooks cannot be shared."""
    from accelerate.hooks import remove_hook_from_submodules

    remove_hook_from_submodules(model)


def _pack_only_what_fits(model: Any) -> None:
    """On a CPU with AVX-512 bitsandbytes packs 4-bit weights in blocks, and fails on those that are no whole blocks."""
    for module in model.modules():
        if getattr(module, "support_avx512bf16_for_cpu", False):
            whole = module.out_features % 32 == 0 and module.in_features % 64 == 0
            module.support_avx512bf16_for_cpu = whole
