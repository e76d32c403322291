"""Tiny adapters of every kind for the tiny model, with effects large enough to change its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

LORA = {"task_type": "CAUSAL_LM", "r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
BOTTLENECK = {"task_type": "CAUSAL_LM", "bottleneck_size": 4, "init": "bert", "scale": 120.0}
KINDS = ("lora", "dora", "pissa", "series", "parallel", "prefix", "prompt")


def make_kind(kind: str, model_folder: Path, folder: Path, seed: int = 7) -> Path:
    """Write an adapter; PEFT notes the base's folder in it."""
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    tuned = get_peft_model(AutoModelForCausalLM.from_pretrained(model_folder), config_of(kind))
    with torch.no_grad():
        for name, weight in tuned.named_parameters():
            if "prompt_encoder" in name:
                weight.normal_(std=6.0 if kind == "prefix" else 2.0)
            elif kind == "pissa" and "lora_" in name:
                weight.mul_(1.5)
            elif "lora_" in name and weight.requires_grad:
                weight.mul_(3.0)
    tuned.save_pretrained(str(folder))
    return folder


def config_of(kind: str) -> Any:
    from peft import LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

    from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig

    return {
        "lora": lambda: LoraConfig(**LORA),
        "dora": lambda: LoraConfig(**LORA, use_dora=True),
        "pissa": lambda: LoraConfig(**{**LORA, "init_lora_weights": "pissa"}),
        "series": lambda: SeriesConfig(**BOTTLENECK),
        "parallel": lambda: ParallelConfig(**BOTTLENECK),
        "prefix": lambda: PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
        "prompt": lambda: PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5),
        "p-tuning": lambda: PromptEncoderConfig(
            task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=16
        ),
    }[kind]()
