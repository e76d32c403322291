"""`Course`: a run from step to step: gradients, records, validation, early stopping, checkpoints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ChatDoctorError, DataError, DiskSpaceError, TrainingError
from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.passes import Objective, Passes, learned_in
from chatdoctor_hub.training.recipe import TrainingConfig
from chatdoctor_hub.training.run.checkpoints import Checkpoint, Checkpoints
from chatdoctor_hub.training.run.ranks import Ranks
from chatdoctor_hub.training.run.schedule import moments, rate, step_numbers
from chatdoctor_hub.training.run.snapshot import (
    are_finite,
    optimizer_state,
    random_states,
    restore_optimizer,
    restore_random_states,
    restore_weights,
    trained_weights,
)
from chatdoctor_hub.training.run.standing import Standing

if TYPE_CHECKING:
    import torch

__all__ = ["Course", "OnStep", "extremes"]

OnStep = Callable[[dict[str, float]], None]


class Course:
    """What happens in a run; the Trainer says when.

    Args:
        training, validation, settings, seed, on_step, extra, probe, probe_times: as `fit` is given them.
        total: steps of the run.
        checkpoints: where the run is saved, if it is.
    """

    def __init__(
        self,
        training: Sequence[Encoded],
        validation: Sequence[Encoded],
        settings: TrainingConfig,
        *,
        total: int,
        seed: int = 0,
        on_step: OnStep | None = None,
        extra: Objective | None = None,
        checkpoints: Checkpoints | None = None,
        probe: Callable[[], dict[str, float]] | None = None,
        probe_times: int = 0,
    ) -> None:
        self._training, self._validation, self._settings = training, validation, settings
        self.total, self._seed, self._on_step, self._extra = total, seed, on_step, extra
        self._checkpoints, self._probe = checkpoints, probe
        self._validated_at = moments(total, settings.validations) if validation else frozenset()
        self._probed_at = moments(total, probe_times) if probe else frozenset()
        self._saved_at = moments(total, settings.checkpoints) if checkpoints else frozenset()
        self.ranks = Ranks()
        self.standing = Standing()
        self.interrupted = False
        self._record: dict[str, float] = {}
        self._best_weights: dict[str, torch.Tensor] | None = None
        self._stack = ExitStack()
        self._since = time.monotonic()

    def begin(
        self, model: Any, wrapped: Any, optimizer: Any, ranks: Ranks, resumed: Checkpoint | None
    ) -> None:
        """Set up the passes, and take up where a checkpoint was written.

        Args:
            model: the model, or its shards.
            wrapped: what is called, DDP for one.
            optimizer: prepared.
            ranks: the processes.
            resumed: the checkpoint, if there is one.
        """
        import torch

        self._model, self._optimizer, self.ranks = model, optimizer, ranks
        self._device = next(model.parameters()).device
        torch.manual_seed(self._seed + ranks.index)  # processes drop activations of their own
        longest = [*extremes(self._training), *extremes(self._validation)]
        self._passes = self._stack.enter_context(Passes(wrapped, self._settings, longest, extra=self._extra))
        if self._checkpoints and ranks.is_first:
            self._checkpoints.forget_after(resumed.step if resumed else 0)
        if resumed is not None:
            self._take_up(model, resumed)
            restore_optimizer(model, optimizer, resumed.tensors("optimizer"))
            if len(states := resumed.state["random"]) == ranks.count:
                restore_random_states(states[ranks.index], self._device)
        self.standing.describe(self._passes)
        self._since = time.monotonic()

    def is_over(self, resumed: Checkpoint) -> bool:
        """Whether nothing is left to do after a checkpoint."""
        standing = _standing_of(resumed)
        return standing.stopped_early or standing.step >= self.total

    def reopen(self, model: Any, resumed: Checkpoint) -> None:
        """Take up a run that is over; not a step is left, but the weights have to be found again."""
        self._model = model
        self._take_up(model, resumed)
        self._since = time.monotonic()
        self.settle()

    @property
    def can_be_saved(self) -> bool:
        """Whether there is a place for checkpoints."""
        return self._checkpoints is not None

    def _take_up(self, model: Any, resumed: Checkpoint) -> None:
        restore_weights(model, resumed.tensors("weights"))
        self.standing = _standing_of(resumed)

    def close(self) -> None:
        """End the threads of the passes and give the model back as it was."""
        self._stack.close()

    def gradients(self, number: int) -> float:
        """Put the gradient of a step into the trainable parameters.

        Args:
            number: of the step, from 0.

        Returns:
            The mean loss of the step, nats a learned token, over all processes.

        Raises:
            TrainingError: when it is no number.
        """
        drawn = step_numbers(len(self._training), self._settings.batch_size, self._seed, number)
        step = [self._training[index] for index in drawn]
        learned = learned_in(step)
        found = self._passes.gradients(self.ranks.share(step), learned)
        total, extra = self.ranks.summed(found.total, found.extra)
        if not math.isfinite(total + extra):
            raise TrainingError(
                f"Expected a finite training loss at step {number + 1}, found {total + extra}; lower training.lr"
                f"{self._kept()}."
            )
        self._record = {
            "step": number + 1,
            "steps": self.total,
            "tokens": self.standing.tokens + sum(len(sample) for sample in step),
            "loss": total / max(learned, 1),
            "lr": self._settings.lr * rate(number, self.total, self._settings),
        }
        if self._extra:
            self._record["extra"] = extra / max(learned, 1)
        return self._record["loss"]

    def finish(self) -> bool:
        """What follows a step whose weights have been changed.

        Returns:
            Whether the run is to be saved now (`save`).
        """
        record, standing = self._record, self.standing
        at = standing.step
        standing.step, standing.tokens = at + 1, int(record["tokens"])
        improved = at in self._validated_at and self._validate(record)
        if self._probe and at in self._probed_at:
            record.update(self._probe())
        standing.records.append(record)
        try:
            if self._on_step and self.ranks.is_first:
                self._on_step(dict(record))
        except KeyboardInterrupt:
            self.save()
            raise
        if self.interrupted:
            self.save()
            raise KeyboardInterrupt
        return bool(self._checkpoints) and (at in self._saved_at or improved or standing.stopped_early)

    def save(self) -> None:
        """Write a checkpoint, if there is a place for it.

        Raises:
            TrainingError: when a weight is no longer a number; nothing is written.
            DiskSpaceError: when the disk is full; the checkpoint before is as it was.
        """
        if self._checkpoints is None:
            return
        self.check_weights()
        standing = self.standing
        standing.seconds, self._since = self.seconds(), time.monotonic()
        random = self.ranks.gathered(json.dumps(random_states(self._device)))
        tensors = {
            "weights": trained_weights(self._model),
            "optimizer": optimizer_state(self._model, self._optimizer),
        }
        state: dict[str, Any] = {
            "standing": standing.to_record(),
            "random": [json.loads(said) for said in random],
        }
        if self._settings.keep_best:
            state["best"] = standing.best_step
        fault: ChatDoctorError | None = None
        if self.ranks.is_first:
            try:
                self._checkpoints.write(standing.step, tensors, state)
            except DataError as error:
                fault = DataError(str(error))
            except DiskSpaceError as error:
                fault = DiskSpaceError(str(error))
        self._raise_everywhere(fault)

    def check_weights(self) -> None:
        """Look whether the weights are still numbers.

        Raises:
            TrainingError: when one is not.
        """
        (bad,) = self.ranks.summed(float(not are_finite(self._model)))
        if bad:
            raise TrainingError(
                f"Expected finite weights after step {self.standing.step}, found others; lower training.lr"
                f"{self._kept()}."
            )

    def settle(self) -> None:
        """End the run: the best weights, if these are to be kept, and nothing but numbers."""
        standing = self.standing
        if self._settings.keep_best and standing.best_step not in (None, standing.step):
            if self._checkpoints is not None:
                self._best_weights = self._checkpoints.at(int(standing.best_step or 0)).tensors("weights")
            if self._best_weights is not None:
                restore_weights(self._model, self._best_weights)
        self.check_weights()
        standing.seconds = self.seconds()

    def seconds(self) -> float:
        """Of the run so far, those before a resume among them."""
        return self.standing.seconds + time.monotonic() - self._since

    def _validate(self, record: dict[str, float]) -> bool:
        """Whether the best weights so far must be kept."""
        total, count = self.ranks.summed(*self._passes.losses(self.ranks.share(self._validation)))
        loss = total / max(count, 1)
        if not math.isfinite(loss):
            raise TrainingError(
                f"Expected a finite validation loss after step {self.standing.step}, found {loss}; lower "
                f"training.lr{self._kept()}."
            )
        record["validation_loss"] = loss
        record["perplexity"] = math.exp(min(loss, 700.0))
        improved = self.standing.judge(loss, self._settings.patience)
        if improved and self._settings.keep_best and self._checkpoints is None:
            self._best_weights = trained_weights(self._model)
        return improved and self._settings.keep_best

    def _kept(self) -> str:
        return self._checkpoints.kept() if self._checkpoints else ""

    def _raise_everywhere(self, fault: ChatDoctorError | None) -> None:
        """The others learn what went wrong with the first process; they wait for it here."""
        said = self.ranks.gathered(str(fault or ""))[0]
        if fault is not None:
            raise fault
        if said:
            raise TrainingError(said)


def _standing_of(resumed: Checkpoint) -> Standing:
    return Standing(**resumed.state["standing"])


def extremes(samples: Sequence[Encoded]) -> list[Encoded]:
    """The longest and the shortest: what fails on one dialogue fails on these."""
    if not samples:
        return []
    lengths = getattr(samples, "lengths", None)
    if lengths is None:
        return [max(samples, key=len), min(samples, key=len)]
    return [samples[int(lengths.argmax())], samples[int(lengths.argmin())]]
