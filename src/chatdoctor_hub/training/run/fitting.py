"""`fit`: a model's trainable parameters fitted to encoded dialogues."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError, DataFormatError
from chatdoctor_hub.models import require_extra
from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.passes import Objective, Passes
from chatdoctor_hub.training.recipe import TrainingConfig
from chatdoctor_hub.training.run.checkpoints import Checkpoint, Checkpoints
from chatdoctor_hub.training.run.course import Course, OnStep, extremes
from chatdoctor_hub.training.run.schedule import step_count
from chatdoctor_hub.training.run.snapshot import kept_randomness
from chatdoctor_hub.training.run.trainer import check_loggers, trainer_for

__all__ = ["Fit", "OnStep", "fit", "held_out_loss"]


@dataclass(frozen=True)
class Fit:
    """What a run did.

    Args:
        steps: optimizer steps.
        tokens: tokens that went through the model in training, all of them real.
        seconds: of the run, validation included.
        precision: of the passes, "float32" or "bfloat16".
        workers: threads used by each process.
        flat: whether dialogues were laid end to end rather than padded.
        parameters: of the model, trained or not.
        validation_loss: the last one measured of the weights that were kept (nats a learned token), or None.
        stopped_early: whether the validation loss had not fallen for too long.
        best_step: the number of steps after which the validation loss was lowest, or None.
        resumed_at: the number of steps that a checkpoint brought along, or None.
        fused: whether the adapter's layers were fused.
        why: they were not, if so.
        records: what `on_step` was given, for all steps, those before a resume among them.
    """

    steps: int
    tokens: int
    seconds: float
    precision: str
    workers: int
    flat: bool
    parameters: int
    validation_loss: float | None
    stopped_early: bool = False
    best_step: int | None = None
    resumed_at: int | None = None
    fused: bool = False
    why: str = ""
    records: tuple[dict[str, float], ...] = field(default=(), repr=False)


def fit(
    model: Any,
    training: Sequence[Encoded],
    settings: TrainingConfig,
    *,
    seed: int = 0,
    validation: Sequence[Encoded] = (),
    on_step: OnStep | None = None,
    extra: Objective | None = None,
    work: Path | None = None,
    key: str = "",
    probe: Callable[[], dict[str, float]] | None = None,
    probe_times: int = 0,
) -> Fit:
    """Fit the parameters of `model` that require gradients; they are changed in place, in float32.

    transformers' Trainer takes the steps. The loss is normalised by the learned tokens of the whole step over
    all processes; the dialogues of a step are a function of (seed, step) alone. The same seed, data, precision
    and thread count give the same weights, bit for bit on a CPU, also when the run is killed and continued. A
    model with dropout is trained by one thread.

    With `work` and `settings.checkpoints` the run is saved at times, and a later call with the same arguments
    goes on from the newest checkpoint. Ctrl-C then ends the step, saves and raises. Under several processes
    every one of them calls.

    Args:
        model: a causal language model on its device; frozen weights in any precision.
        training: what to fit.
        settings: how.
        seed: of the order of the data, and of dropout.
        validation: measured `settings.validations` times, if there are any.
        on_step: called by the first process after each step with step, steps, tokens, loss, lr and, at times,
            validation_loss and perplexity and what `probe` found.
        extra: a further objective.
        work: folder for checkpoints.
        key: says what recipe, data and base the checkpoints belong to.
        probe: asks the model something, by every process.
        probe_times: how often in a run.

    Raises:
        MissingExtraError: without the packages of the extra "local".
        DataFormatError: when there is nothing to fit.
        ConfigError: for a logger that is not installed, checkpoints of another key, or DeepSpeed.
        TrainingError: when the loss or a weight is no longer a number; the last good checkpoint is kept.
        DiskSpaceError: when a checkpoint cannot be written; the one before is kept.
    """
    if not training:
        raise DataFormatError("Expected dialogues to fit, found none; give at least one.")
    require_extra("torch", "transformers", "accelerate", "safetensors", extra="local")
    check_loggers(settings)
    _check_strategy()
    total = step_count(len(training), settings.batch_size, settings.epochs, settings.max_steps)
    store = Checkpoints(Path(work), key) if work is not None and settings.checkpoints else None
    resumed = store.newest() if store else None
    course = Course(
        training,
        validation,
        settings,
        total=total,
        seed=seed,
        on_step=on_step,
        extra=extra,
        checkpoints=store,
        probe=probe,
        probe_times=probe_times,
    )
    _take_float_masters(model)
    with kept_randomness(model.device), _given_back(model):
        if resumed is not None and course.is_over(resumed):
            course.reopen(model, resumed)
        else:
            _train(model, course, settings, seed=seed, resumed=resumed, name=f"run-{key[:8] or seed}")
    model.eval()
    return _fit(model, course, settings, resumed.step if resumed else None)


def held_out_loss(model: Any, samples: Sequence[Encoded], settings: TrainingConfig) -> tuple[float, int]:
    """Summed negative log-likelihood (nats) of the learned tokens of `samples`, and their number.

    Measured in the model's own precision, nothing trained.
    """
    own = settings.model_copy(update={"precision": "float32"})
    with Passes(model, own, extremes(samples)) as passes:
        return passes.losses(samples)


def _train(
    model: Any, course: Course, settings: TrainingConfig, *, seed: int, resumed: Checkpoint | None, name: str
) -> None:
    trainer = trainer_for(model, course, settings, seed=seed, resumed=resumed, name=name)
    try:
        with _ctrl_c(course, trainer.accelerator.num_processes == 1):
            trainer.train()
            course.settle()
    finally:
        course.close()
        if model.device.type != "cpu":
            trainer.accelerator.free_memory()


def _fit(model: Any, course: Course, settings: TrainingConfig, resumed_at: int | None) -> Fit:
    standing = course.standing
    return Fit(
        steps=standing.step,
        tokens=standing.tokens,
        seconds=standing.seconds,
        precision=standing.precision,
        workers=standing.workers,
        flat=standing.flat,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        validation_loss=standing.best_loss if settings.keep_best else standing.validation_loss,
        stopped_early=standing.stopped_early,
        best_step=standing.best_step,
        resumed_at=resumed_at,
        fused=standing.fused,
        why=standing.why,
        records=tuple(standing.records),
    )


def _check_strategy() -> None:
    if os.environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise ConfigError(
            "Expected processes of DDP or FSDP2, found DeepSpeed, whose engine runs backward passes of its own; "
            "launch with fsdp2, which shards as well."
        )


def _take_float_masters(model: Any) -> None:
    """Steps too small for half precision add up in float32."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


@contextmanager
def _given_back(model: Any) -> Iterator[None]:
    """What the Trainer and accelerate change beside the weights is as before afterwards."""
    from accelerate import PartialState
    from accelerate.state import AcceleratorState, GradientState

    cached = getattr(model.config, "use_cache", None)
    was_set_up = bool(PartialState._shared_state)
    try:
        yield
    finally:
        if cached is not None:
            model.config.use_cache = cached
        vars(model).pop("_is_accelerate_prepared", None)
        if not was_set_up and PartialState._shared_state and PartialState().num_processes == 1:
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()


@contextmanager
def _ctrl_c(course: Course, is_alone: bool) -> Iterator[None]:
    """The first Ctrl-C ends the step, if that can be saved; the second does not wait for it."""
    handled = (
        is_alone
        and course.can_be_saved
        and threading.current_thread() is threading.main_thread()
        and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    )
    if not handled:
        yield
        return

    def note(number: int, frame: Any) -> None:
        course.interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
