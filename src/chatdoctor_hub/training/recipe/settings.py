"""`TrainingConfig`: how weights are fitted to dialogues."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from chatdoctor_hub.training.recipe.strict import Rule, Strict

__all__ = ["TrainingConfig"]

_Beta = Annotated[float, Field(ge=0, lt=1)]


def _patience_can_end(training: Any) -> Iterator[str]:
    if training.patience is not None and training.patience > training.validations:
        yield (
            f"patience: input should be at most validations, which is {training.validations}, found "
            f"{training.patience}"
        )


def _warmup_can_end(training: Any) -> Iterator[str]:
    if training.max_steps and training.warmup_steps and training.warmup_steps > training.max_steps:
        yield (
            f"warmup_steps: input should be at most max_steps, which is {training.max_steps}, found "
            f"{training.warmup_steps}"
        )


def _exact_is_float32(training: Any) -> Iterator[str]:
    if training.speed == "exact" and training.precision == "bfloat16":
        yield "precision: input should be 'auto' or 'float32' where speed is 'exact', found 'bfloat16'"


def _loggers_differ(training: Any) -> Iterator[str]:
    if len(set(training.loggers)) < len(training.loggers):
        yield f"loggers: input should name each once, found {training.loggers!r}"


class TrainingConfig(Strict):
    """How weights are fitted to dialogues."""

    rules: ClassVar[tuple[Rule, ...]] = (
        _patience_can_end,
        _warmup_can_end,
        _exact_is_float32,
        _loggers_differ,
    )

    epochs: float = Field(2.0, gt=0, le=1000, description="passes over the training dialogues")
    max_steps: int | None = Field(
        None, ge=1, description="optimizer steps after which to stop, whatever epochs says"
    )
    batch_size: int = Field(32, ge=1, description="dialogues an optimizer step, over all processes")
    max_length: int = Field(512, ge=8, description="tokens a dialogue may have; older turns are left out")
    loss_on: Literal["doctor", "last", "all"] = Field(
        "doctor",
        description="tokens that are learned: every doctor's turn, the last one only, or all of the text",
    )
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    schedule: Literal["trapezoid", "linear", "cosine", "constant"] = Field(
        "trapezoid",
        description="of the learning rate after the warm-up; the trapezoid is level, then falls to 0",
    )
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="share of the steps until lr is reached")
    warmup_steps: int | None = Field(None, ge=0, description="the same in steps; goes before warmup_ratio")
    decay_ratio: float = Field(
        0.95, ge=0, le=1, description="share of the steps, at the end, in which the trapezoid falls to 0"
    )
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon: momentum orthogonalised (Jordan et al. 2024) for matrices, AdamW for the rest",
    )
    betas: tuple[_Beta, _Beta] = Field((0.9, 0.95), description="AdamW's averages of gradient and square")
    epsilon: float = Field(1e-8, gt=0, description="AdamW's")
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    token_budget: int = Field(
        0, ge=0, description="tokens a forward pass may hold; 0: taken from memory and what is fastest here"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="of the passes; auto takes what is faster here; trained weights are kept in float32",
    )
    adapter_precision: Literal["float32", "base"] = Field(
        "float32", description="of the adapter's own products in the passes; base: that of the passes"
    )
    quantization: Literal["none", "4bit", "8bit"] = Field(
        "none", description="of the frozen base, by bitsandbytes on a GPU (QLoRA, arXiv 2305.14314)"
    )
    checkpointing: Literal["auto", "on", "off"] = Field(
        "auto", description="recompute activations in the backward pass; auto: when memory asks for it"
    )
    speed: Literal["auto", "exact", "portable"] = Field(
        "auto",
        description="auto: fused adapter layers where they apply; exact: fused and in float32; portable: the "
        "model's own layers only",
    )
    workers: int = Field(
        0, ge=0, le=64, description="threads that work on parts of a step on a CPU; 0: one a core"
    )
    validations: int = Field(4, ge=1, description="how often the validation loss is measured in a run")
    validation_share: float = Field(
        0.05, ge=0, lt=1, description="of the dialogues, where the data have no validation split of their own"
    )
    patience: int | None = Field(
        None, ge=1, description="stop after so many validations without a better loss; None: never"
    )
    keep_best: bool = Field(False, description="end with the weights of the lowest validation loss")
    checkpoints: int = Field(
        4, ge=0, description="how often the state is saved in a run, for a resume; 0: never"
    )
    loggers: tuple[Literal["tensorboard", "trackio", "wandb"], ...] = Field(
        (), description="where the metrics go beside metrics.jsonl"
    )
