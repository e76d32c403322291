"""`fit`: the loop that fits a model's trainable parameters to encoded dialogues."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import DataFormatError, GenerationError
from chatdoctor_hub.training.config import TrainingConfig
from chatdoctor_hub.training.encoding import Encoded
from chatdoctor_hub.training.passes import attention_by_dialogue, takes_flat
from chatdoctor_hub.training.schedule import micro_batches, rate, step_count, steps
from chatdoctor_hub.training.workers import Workers, bfloat16_pays, one_thread_each

if TYPE_CHECKING:
    import torch

__all__ = ["Fit", "OnStep", "fit", "held_out_loss"]

OnStep = Callable[[dict[str, float]], None]


@dataclass(frozen=True)
class Fit:
    """What a run of the loop did.

    Args:
        steps: optimizer steps.
        tokens: tokens that went through the model, all of them real.
        seconds: of the loop, validation included.
        precision: of the passes, "float32" or "bfloat16".
        workers: threads used.
        flat: whether dialogues were laid end to end rather than padded.
        parameters: of the model, trained or not.
        validation_loss: the last one measured (nats a learned token), or None.
    """

    steps: int
    tokens: int
    seconds: float
    precision: str
    workers: int
    flat: bool
    parameters: int
    validation_loss: float | None


def fit(
    model: Any,
    training: Sequence[Encoded],
    settings: TrainingConfig,
    *,
    seed: int = 0,
    validation: Sequence[Encoded] = (),
    on_step: OnStep | None = None,
) -> Fit:
    """Fit the parameters of `model` that require gradients; they are changed in place.

    Float32 master weights, passes in bfloat16 where that is faster, loss normalised by the learned tokens
    of the whole optimizer step. The same seed, data, precision and thread count give the same weights; a
    model with dropout is trained by one thread. After bfloat16 passes the frozen weights are rounded.

    Args:
        model: a causal language model in float32, on its device.
        training: what to fit.
        settings: how.
        seed: of the order of the data.
        validation: measured `settings.validations` times, if there are any.
        on_step: called with step, tokens, loss, lr (and validation_loss) after each step.

    Raises:
        DataFormatError: when there is nothing to fit.
        GenerationError: when the loss or a weight is no longer a number.
    """
    if not training:
        raise DataFormatError("Expected dialogues to fit, found none; give at least one.")
    precision = _precision(settings, model.device)
    workers = 1 if _draws(model) else _worker_count(settings, model.device)
    flat = _lies_flat(model, [*training, *validation])
    total = step_count(len(training), settings.batch_size, settings.epochs)
    measured_at = {round(total * (n + 1) / settings.validations) - 1 for n in range(settings.validations)}
    started, tokens, last = time.monotonic(), 0, None
    _cast(model, precision)
    model.train()
    with (
        one_thread_each(workers),
        attention_by_dialogue(model, flat),
        Workers(model, workers, flat=flat) as crew,
    ):
        optimizers = _optimizers(crew.masters, model, settings, workers)
        rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
        order = steps(training, settings.batch_size, settings.epochs, seed)
        for number, step in enumerate(order):
            share = rate(number, total, settings.warmup_ratio, settings.decay_ratio)
            for optimizer, tops in zip(optimizers, rates, strict=True):
                for group, top in zip(optimizer.param_groups, tops, strict=True):
                    group["lr"] = top * share
            loss, learned = crew.gradients(micro_batches(step, settings.token_budget, workers))
            if not math.isfinite(loss):
                raise GenerationError(
                    f"Expected a finite training loss at step {number + 1}, found {loss}; lower training.lr."
                )
            crew.step(optimizers, settings.max_grad_norm)
            tokens += sum(len(sample) for sample in step)
            record = {
                "step": number + 1,
                "tokens": tokens,
                "loss": loss / max(learned, 1),
                "lr": settings.lr * share,
            }
            if validation and number in measured_at:
                last = _validate(crew, validation, settings.token_budget)
                record["validation_loss"] = last
            if on_step:
                on_step(record)
        _settle(model, crew.masters)
    model.eval()
    size = sum(parameter.numel() for parameter in model.parameters())
    return Fit(total, tokens, time.monotonic() - started, precision, workers, flat, size, last)


def held_out_loss(model: Any, samples: Sequence[Encoded], settings: TrainingConfig) -> tuple[float, int]:
    """Summed negative log-likelihood (nats) of the learned tokens of `samples`, and their number.

    Measured in the model's own precision, dialogue by dialogue masks included, nothing trained.
    """
    workers = _worker_count(settings, model.device)
    flat = _lies_flat(model, samples)
    with (
        one_thread_each(workers),
        attention_by_dialogue(model, flat),
        Workers(model, workers, flat=flat) as crew,
    ):
        batches = [
            batch for share in micro_batches(samples, settings.token_budget, workers) for batch in share
        ]
        return crew.losses(batches)


def _validate(crew: Workers, samples: Sequence[Encoded], budget: int) -> float:
    batches = [batch for share in micro_batches(samples, budget, 1) for batch in share]
    total, count = crew.losses(batches)
    return total / max(count, 1)


def _lies_flat(model: Any, samples: Sequence[Encoded]) -> bool:
    """Tried on the shortest and the longest: what fails on one dialogue fails on these."""
    if model.device.type != "cpu" or not samples:
        return False
    return takes_flat(model, [min(samples, key=len), max(samples, key=len)])


def _draws(model: Any) -> bool:
    """Whether the model drops activations at random: threads share a generator, and race for its numbers."""
    import torch

    said = (value for name, value in model.config.to_dict().items() if "drop" in name)
    return any(isinstance(value, float) and value > 0 for value in said) or any(
        isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules()
    )


def _precision(settings: TrainingConfig, device: torch.device) -> str:
    if settings.precision != "auto":
        return settings.precision
    return "bfloat16" if bfloat16_pays(device) else "float32"


def _worker_count(settings: TrainingConfig, device: torch.device) -> int:
    if device.type != "cpu":
        return 1
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return settings.workers or min(cores, 8)


def _cast(model: Any, precision: str) -> None:
    """Parameters only: buffers such as the rotary frequencies lose what makes positions differ."""
    import torch

    if precision == "bfloat16":
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)


def _settle(model: Any, masters: Sequence[torch.nn.Parameter]) -> None:
    """Put the float32 weights back into the model.

    Raises:
        GenerationError: when one of them is no longer a number.
    """
    import torch

    if not all(bool(master.isfinite().all()) for master in masters):
        raise GenerationError("Expected finite weights after training, found others; lower training.lr.")
    model.to(torch.float32)
    with torch.no_grad():
        for parameter, master in zip(
            (p for p in model.parameters() if p.requires_grad), masters, strict=True
        ):
            parameter.copy_(master)


def _optimizers(
    masters: Sequence[torch.nn.Parameter], model: Any, settings: TrainingConfig, workers: int
) -> list[torch.optim.Optimizer]:
    import torch

    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    inner = [
        settings.optimizer == "muon" and master.ndim == 2 and "embed" not in name and "lm_head" not in name
        for name, master in zip(names, masters, strict=True)
    ]
    matrices = [master for master, chosen in zip(masters, inner, strict=True) if chosen]
    others = [master for master, chosen in zip(masters, inner, strict=True) if not chosen]
    # One Muon a worker: orthogonalising is the costly part of a step, and each matrix stands alone.
    shares = [share for share in (matrices[number::workers] for number in range(workers)) if share]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.Muon(share, lr=settings.lr, weight_decay=settings.weight_decay, momentum=0.95)
        for share in shares
    ]
    if others:
        # Muon's rate is for orthogonal updates; vectors and embeddings want a quarter of it under AdamW.
        lr = settings.lr / 4 if matrices else settings.lr
        decay = 0.0 if matrices else settings.weight_decay
        optimizers.append(torch.optim.AdamW(others, lr=lr, betas=(0.9, 0.95), weight_decay=decay, fused=True))
    return optimizers
