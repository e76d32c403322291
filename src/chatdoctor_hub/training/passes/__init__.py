"""The forward and backward pass of a part of a step: no padding, no attention across dialogues, threads."""

from __future__ import annotations

from chatdoctor_hub.training.passes.allocator import kept_memory
from chatdoctor_hub.training.passes.attention import attend_by_dialogue, attention_by_dialogue
from chatdoctor_hub.training.passes.batches import learned_in, micro_batches
from chatdoctor_hub.training.passes.budget import (
    Budget,
    Footprint,
    Shape,
    budget_for,
    budget_within,
    footprint_of,
)
from chatdoctor_hub.training.passes.flat import (
    Flat,
    flatten,
    logits_of,
    puts_tokens_before,
    takes_flat,
)
from chatdoctor_hub.training.passes.fusing import fuse
from chatdoctor_hub.training.passes.memory import free_memory
from chatdoctor_hub.training.passes.objective import Objective
from chatdoctor_hub.training.passes.padded import Padded, pad, padded_logits
from chatdoctor_hub.training.passes.passes import Passes
from chatdoctor_hub.training.passes.precision import bfloat16_pays, precision_for
from chatdoctor_hub.training.passes.threads import draws, one_thread_each, threads_for, worker_count
from chatdoctor_hub.training.passes.twins import cast_weights, refresh, twin
from chatdoctor_hub.training.passes.worker import StepLoss, Worker
from chatdoctor_hub.training.passes.wrapping import Wrapping

__all__ = [
    "Budget",
    "Flat",
    "Footprint",
    "Objective",
    "Padded",
    "Passes",
    "Shape",
    "StepLoss",
    "Worker",
    "Wrapping",
    "attend_by_dialogue",
    "attention_by_dialogue",
    "bfloat16_pays",
    "budget_for",
    "budget_within",
    "cast_weights",
    "draws",
    "flatten",
    "footprint_of",
    "free_memory",
    "fuse",
    "kept_memory",
    "learned_in",
    "logits_of",
    "micro_batches",
    "one_thread_each",
    "pad",
    "padded_logits",
    "precision_for",
    "puts_tokens_before",
    "refresh",
    "takes_flat",
    "threads_for",
    "twin",
    "worker_count",
]
