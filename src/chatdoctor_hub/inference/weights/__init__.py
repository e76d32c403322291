"""Weights: what an engine loads, the base once and each adapter over it, and where it is to be had."""

from __future__ import annotations

from chatdoctor_hub.inference.weights.adapted import AdaptedModel, AdaptedModels
from chatdoctor_hub.inference.weights.assembling import Loaded, load_models
from chatdoctor_hub.inference.weights.devices import pick_device, pick_dtype
from chatdoctor_hub.inference.weights.parts import Parts, resolve_parts
from chatdoctor_hub.inference.weights.planning import ModelPlan, plan_models
from chatdoctor_hub.inference.weights.quantizing import check_quantization

__all__ = [
    "AdaptedModel",
    "AdaptedModels",
    "Loaded",
    "ModelPlan",
    "Parts",
    "check_quantization",
    "load_models",
    "pick_device",
    "pick_dtype",
    "plan_models",
    "resolve_parts",
]
