"""Weights: what of a base is trained, what holds it near the base, and what becomes of it afterwards."""

from __future__ import annotations

from chatdoctor_hub.training.weights.agreement import Agreement
from chatdoctor_hub.training.weights.anchor import Anchor
from chatdoctor_hub.training.weights.checking import check_adapter, check_positions, count_parameters
from chatdoctor_hub.training.weights.gguf_export import GgufReport, export_gguf, write_gguf
from chatdoctor_hub.training.weights.merging import MergeReport, merge_adapter, merge_run
from chatdoctor_hub.training.weights.safe_lora import SafeLoraReport, project_safe_lora
from chatdoctor_hub.training.weights.saving import save_serving_tokenizer, save_trained
from chatdoctor_hub.training.weights.tunable import load_tunable

__all__ = [
    "Agreement",
    "Anchor",
    "GgufReport",
    "MergeReport",
    "SafeLoraReport",
    "check_adapter",
    "check_positions",
    "count_parameters",
    "export_gguf",
    "load_tunable",
    "merge_adapter",
    "merge_run",
    "project_safe_lora",
    "save_serving_tokenizer",
    "save_trained",
    "write_gguf",
]
