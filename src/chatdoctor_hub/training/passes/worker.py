"""A worker: one thread's model and what it adds up over its micro-batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes.flat import Flat, flatten, logits_of
from chatdoctor_hub.training.passes.objective import Objective
from chatdoctor_hub.training.passes.padded import Padded, pad

if TYPE_CHECKING:
    import torch

__all__ = ["StepLoss", "Worker"]


@dataclass(frozen=True)
class StepLoss:
    """What a step, or a part of it, lost.

    Args:
        total: summed negative log-likelihood of the learned tokens, nats.
        learned: how many these are.
        extra: summed further objective, nats.
    """

    total: float
    learned: int
    extra: float = 0.0


class Worker:
    """Computes gradients with a model of its own, or with the model itself.

    On a CPU the operations of a small model are too short to be split over cores, so each core takes some
    of the step's dialogues instead.

    Args:
        model: in the precision of the passes, in training mode.
        flat: whether dialogues are laid end to end (`takes_flat`).
        extra: a further objective.
        in_place: the model is the run's own, and its gradients stay in it.
        during: entered around the forward pass (autocast).
    """

    def __init__(
        self,
        model: Any,
        *,
        flat: bool,
        extra: Objective | None = None,
        in_place: bool = False,
        during: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model = model
        self._flat, self._extra, self._during = flat, extra, during
        self.device = next(model.parameters()).device
        self.fused: Any = None
        self.head: Any = None
        self.trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._in_place = in_place
        self._sums: dict[int, torch.Tensor] = {}

    def unfuse(self) -> None:
        """Take the fused layers out of the model."""
        if self.fused:
            self.fused.undo()
        self.fused = None

    def without_head(self) -> None:
        """Let the model give logits again."""
        if self.head:
            self.head.undo()
        self.head = None

    def gradients(self, batches: Sequence[Sequence[Encoded]], scale: float, idle: int = 0) -> StepLoss:
        """Add the gradient of the summed loss times `scale` up in the parameters of this worker's model.

        Args:
            batches: the micro-batches.
            scale: one over the learned tokens of the step.
            idle: how many micro-batches, at the end, count for nothing: other processes have more to do,
                and wait for each other.
        """
        if self.fused:
            self.fused.refresh()
        total, count, more = 0.0, 0, 0.0
        for number, batch in enumerate(batches):
            counts = number < len(batches) - idle
            with self._during():
                loss, learned, extra = self._loss(batch)
            whole = loss if extra is None else loss + extra
            (whole * (scale if counts else 0.0)).backward()  # type: ignore[no-untyped-call]
            self._add_up()
            if counts:
                total, count = total + loss.item(), count + learned
                more += 0.0 if extra is None else extra.item()
        return StepLoss(total, count, more)

    def hidden(self, batch: Flat | Padded) -> torch.Tensor:
        """(n, d) what the head, which is passed over, gets at the kept positions."""
        # Nothing behind the last attention needs the other positions.
        kept = bool(self.fused and self.fused.keeps and isinstance(batch, Flat))
        return logits_of(self.model, batch, kept=kept)

    def _loss(self, samples: Sequence[Encoded]) -> tuple[torch.Tensor, int, torch.Tensor | None]:
        import torch

        batch = (flatten if self._flat else pad)(samples, self.device)
        if self.head:
            from chatdoctor_hub.training.passes.fused.likelihood import head_loss

            loss = head_loss(self.hidden(batch), self.head.weight, batch.targets)
            return loss, int((batch.targets >= 0).sum()), None
        logits = logits_of(self.model, batch)
        loss = torch.nn.functional.cross_entropy(logits.float(), batch.targets, reduction="sum")
        extra = self._extra(self.model, batch, logits, batch.targets) if self._extra else None
        return loss, int((batch.targets >= 0).sum()), extra

    def _add_up(self) -> None:
        """Take the gradients of half-precision parameters over into float32 sums: small ones would be lost."""
        import torch

        for number, parameter in enumerate(self.trained):
            if self._in_place or parameter.dtype == torch.float32 or parameter.grad is None:
                continue
            if number in self._sums:
                self._sums[number] += parameter.grad
            else:
                self._sums[number] = parameter.grad.float()
            parameter.grad = None

    def take(self) -> list[torch.Tensor | None]:
        """The gradients that were added up, float32, one a trainable parameter; the worker forgets them."""
        found: list[torch.Tensor | None] = []
        for number, parameter in enumerate(self.trained):
            found.append(self._sums.pop(number, parameter.grad))
            parameter.grad = None
        return found

    def losses(self, batches: Sequence[Sequence[Encoded]], idle: int = 0) -> tuple[float, int]:
        """Summed loss and learned tokens over `batches`, nothing trained, nothing dropped."""
        import torch

        if self.fused:
            self.fused.refresh()
        total, count = 0.0, 0
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.no_grad(), self._during():
                for number, batch in enumerate(batches):
                    extra, self._extra = self._extra, None
                    try:
                        loss, learned, _ = self._loss(batch)
                    finally:
                        self._extra = extra
                    if number < len(batches) - idle:
                        total, count = total + loss.item(), count + learned
        finally:
            self.model.train(was_training)
        return total, count
