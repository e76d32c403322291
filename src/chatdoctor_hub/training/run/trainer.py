"""transformers' Trainer over a `Course`: its loop, optimizer hooks, distribution and loggers; our steps.

A batch of its data is a whole optimizer step, so that it neither splits, pads nor accumulates anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.passes.threads import worker_count
from chatdoctor_hub.training.recipe import TrainingConfig
from chatdoctor_hub.training.run.checkpoints import Checkpoint
from chatdoctor_hub.training.run.course import Course
from chatdoctor_hub.training.run.optimizers import optimizer_for
from chatdoctor_hub.training.run.ranks import Ranks
from chatdoctor_hub.training.run.schedule import rate

if TYPE_CHECKING:
    import torch

__all__ = ["CourseCallback", "CourseTrainer", "check_loggers", "trainer_for"]

_PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "trackio": ("trackio",), "wandb": ("wandb",)}
# The words of transformers' own integrations, which sort by them.
_LOGGED_AS = {"lr": "learning_rate", "validation_loss": "eval_loss", "perplexity": "eval_perplexity"}


def check_loggers(settings: TrainingConfig) -> None:
    """Look whether the loggers of a recipe are installed.

    Raises:
        ConfigError: naming those that are not.
    """
    missing = [name for name in settings.loggers if not any(map(find_spec, _PACKAGES[name]))]
    if missing:
        raise ConfigError(
            f"training.loggers: expected packages that are installed, found none for {', '.join(missing)}; run: "
            f"pip install {' '.join(missing)}"
        )


def trainer_for(
    model: Any, course: Course, settings: TrainingConfig, *, seed: int, resumed: Checkpoint | None, name: str
) -> Any:
    """A Trainer that takes `model` through a course; it prints nothing and writes nothing of its own.

    Args:
        model: on its device.
        course: what happens in the steps.
        settings: optimizer, schedule, loggers.
        seed: of whatever draws numbers.
        resumed: the checkpoint to begin from, if there is one.
        name: of the run, for loggers.
    """
    from transformers import PrinterCallback, Trainer, TrainerCallback

    callback = type("CourseCallback", (CourseCallback, TrainerCallback), {})(course, resumed)
    kind = type("CourseTrainer", (CourseTrainer, Trainer), {"course": course, "settings": settings})
    trainer = kind(
        model=model, args=_arguments(model, settings, course.total, seed, name), callbacks=[callback]
    )
    trainer.remove_callback(PrinterCallback)
    callback.trainer = trainer
    return trainer


def _arguments(model: Any, settings: TrainingConfig, total: int, seed: int, name: str) -> Any:
    from accelerate import PartialState
    from transformers import TrainingArguments

    # A launch has set the processes up; else what an earlier run left may be of another device.
    launched = bool(PartialState._shared_state) and PartialState().num_processes > 1
    arguments = TrainingArguments(
        output_dir=".",
        run_name=name,
        use_cpu=model.device.type == "cpu",
        seed=seed % 2**32,
        max_steps=total,
        per_device_train_batch_size=1,
        max_grad_norm=settings.max_grad_norm,
        eval_strategy="no",
        save_strategy="no",
        logging_strategy="no",
        logging_nan_inf_filter=False,
        report_to=list(settings.loggers) or "none",
        disable_tqdm=True,
        label_names=["labels"],
        dataloader_pin_memory=False,
        # Passes add gradients up over processes themselves.
        ddp_find_unused_parameters=False,
        ddp_broadcast_buffers=False,
        accelerator_config={"use_configured_state": launched},
    )
    arguments._n_gpu = min(arguments._n_gpu, 1)  # else it would make a DataParallel model of it
    arguments.mixed_precision = "no"  # the passes choose theirs
    return arguments


class CourseTrainer:
    """What takes the place of the Trainer's own methods.

    It has no base here, so that this module needs no transformers; `trainer_for` puts the Trainer behind it.
    """

    course: Course
    settings: TrainingConfig
    args: Any
    model: Any
    optimizer: Any
    lr_scheduler: Any
    state: Any

    def get_train_dataloader(self) -> _StepNumbers:
        """The numbers of the steps that are left."""
        return _StepNumbers(self.course)

    def training_step(self, model: Any, inputs: dict[str, int], *_: Any, **__: Any) -> torch.Tensor:
        """The gradients of a step, already those of its normalised loss, which it returns."""
        import torch

        return torch.tensor(self.course.gradients(inputs["step"]), device=self.args.device)

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted here."""
        return 0

    def create_optimizer(self, *_: Any, **__: Any) -> torch.optim.Optimizer:
        """AdamW, or Muon and AdamW."""
        if self.optimizer is None:
            workers = worker_count(self.model, self.settings, self.model.device)
            self.optimizer = optimizer_for(self.model, self.settings, workers)
        optimizer: torch.optim.Optimizer = self.optimizer
        return optimizer

    def create_scheduler(self, num_training_steps: int, *_: Any, **__: Any) -> Any:
        """Rates by `schedule.rate`."""
        import torch

        if self.lr_scheduler is None:
            total, settings = num_training_steps, self.settings
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer, lambda step: rate(step, total, settings) if step < total else 0.0
            )
        return self.lr_scheduler

    def log(self, logs: dict[str, float], *more: Any, **named: Any) -> None:
        """Give the loggers the record of the step rather than the Trainer's own figures."""
        if "learning_rate" not in logs:
            return  # a summary of the run
        record = {_LOGGED_AS.get(key, key): value for key, value in self.course.standing.records[-1].items()}
        if "grad_norm" in logs:
            record["grad_norm"] = logs["grad_norm"]
        super().log(record, *more, **named)  # type: ignore[misc]
        self.state.log_history.clear()

    def _save_checkpoint(self, *_: Any, **__: Any) -> None:
        self.course.save()


class _StepNumbers:
    """The Trainer's data: one item a step."""

    def __init__(self, course: Course) -> None:
        self._course = course

    def __iter__(self) -> Iterator[dict[str, int]]:
        return ({"step": number} for number in range(self._course.standing.step, self._course.total))

    def __len__(self) -> int:
        return self._course.total


class CourseCallback:
    """Passes the Trainer's events on to a course; `trainer_for` puts a TrainerCallback behind it.

    Args:
        course: the course.
        resumed: where it begins.
    """

    trainer: Any

    def __init__(self, course: Course, resumed: Checkpoint | None) -> None:
        self._course, self._resumed = course, resumed

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Model and optimizer are prepared: take up the checkpoint."""
        trainer, course = self.trainer, self._course
        accelerator = trainer.accelerator
        ranks = Ranks(accelerator.process_index, accelerator.num_processes, accelerator.device)
        course.begin(trainer.model, trainer.model_wrapped, trainer.optimizer, ranks, self._resumed)
        state.global_step = course.standing.step
        scheduler = trainer.lr_scheduler
        scheduler.last_epoch = course.standing.step
        for group, highest, share in zip(
            trainer.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = highest * share(course.standing.step)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        """The weights have been changed."""
        control.should_save = self._course.finish()
        control.should_log = bool(args.report_to)
        control.should_training_stop |= self._course.standing.stopped_early
        return control
