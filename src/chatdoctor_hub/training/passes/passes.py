"""`Passes`: the forward and backward passes of a run, over all the dialogues of a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes.allocator import kept_memory
from chatdoctor_hub.training.passes.attention import attention_by_dialogue
from chatdoctor_hub.training.passes.batches import learned_in, micro_batches
from chatdoctor_hub.training.passes.budget import budget_for
from chatdoctor_hub.training.passes.flat import puts_tokens_before, takes_flat
from chatdoctor_hub.training.passes.fusing import fuse
from chatdoctor_hub.training.passes.objective import Objective
from chatdoctor_hub.training.passes.precision import precision_for
from chatdoctor_hub.training.passes.threads import draws, one_thread_each, worker_count
from chatdoctor_hub.training.passes.twins import cast_weights, refresh, twin
from chatdoctor_hub.training.passes.worker import StepLoss, Worker
from chatdoctor_hub.training.passes.wrapping import Wrapping
from chatdoctor_hub.training.recipe import TrainingConfig

if TYPE_CHECKING:
    import torch

__all__ = ["Passes"]

# What a process that has nothing left to do computes while others do: it counts for nothing.
_FILLER = Encoded((0, 0), (False, True))


class Passes(AbstractContextManager["Passes"]):
    """Gradients and losses of many dialogues, in micro-batches, by as many threads as there are cores.

    The work is done by copies of the model that share its weights; it can be asked by others meanwhile.
    Gradients are added in a fixed order, so that no result depends on which thread is faster.

    Args:
        model: a causal language model on its device, with an adapter or without, or one wrapped by DDP or
            FSDP2. Its trainable parameters in float32 are the weights; frozen ones are best in the precision
            of the passes already, else a copy of them is made.
        settings: precision, speed, workers, token_budget, checkpointing, adapter_precision.
        longest: the dialogues that ask for the most, and the shortest one: what fails on one fails on these.
        extra: a further objective.
    """

    precision: torch.dtype
    workers: int
    flat: bool
    fused: bool
    why: str

    def __init__(
        self,
        model: Any,
        settings: TrainingConfig,
        longest: Sequence[Encoded] = (),
        *,
        extra: Objective | None = None,
    ) -> None:
        self._model, self._settings, self._longest, self._extra = model, settings, list(longest), extra
        self._wrapping = Wrapping(model)
        self._bare = self._wrapping.bare
        self._device = next(model.parameters()).device
        self._masters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._casts: dict[int, torch.Tensor] = {}
        self._crew: list[Worker] = []
        self._stack = ExitStack()

    def __enter__(self) -> Passes:
        try:
            self._set_up()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._crew = []
        self._stack.close()
        self._casts = {}

    def _set_up(self) -> None:
        self.precision = self._precision()
        self._stack.enter_context(_as_it_was(self._bare))
        self._bare.eval()
        sharded = self._wrapping.sharded
        self.workers = 1 if sharded else worker_count(self._bare, self._settings, self._device)
        if self._device.type == "cpu":
            self._stack.enter_context(kept_memory())
        self._stack.enter_context(one_thread_each(self.workers))
        self.flat = takes_flat(self._bare, self._longest)
        self._crew = [self._worker(model) for model in self._models()]
        self.why = self._fuse()
        self.fused = not self.why
        budget = budget_for(self._bare, self._settings, self._device, self._longest, fused=self.fused)
        self._budget = budget.tokens
        for worker in self._crew:
            # A prefix reaches the layers through the cache, which checkpointing cannot have.
            if budget.checkpointing and not puts_tokens_before(self._bare):
                self._stack.enter_context(_checkpointing(worker.model))
            worker.model.train()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="chatdoctor-worker")
        self._stack.callback(self._pool.shutdown, wait=True, cancel_futures=True)

    def _precision(self) -> torch.dtype:
        """That of the frozen weights where they are in half precision; else as the settings say."""
        import torch

        halves = {p.dtype for p in self._model.parameters() if p.dtype in (torch.bfloat16, torch.float16)}
        return halves.pop() if halves else precision_for(self._settings, self._device)

    def _models(self) -> list[Any]:
        """The models of the workers: the one handed in, or copies that share its weights."""
        import torch

        if self._wrapping.sharded:
            return [self._model]
        if self.precision != torch.float32:
            adapters = self._settings.adapter_precision == "base"
            self._casts = cast_weights(self._bare, self.precision, adapters=adapters)
        if self._settings.speed != "portable":
            from chatdoctor_hub.training.passes.fused.patches import join_siblings

            self._stack.callback(join_siblings(self._bare, self._casts))
        return [twin(self._bare, self._casts) for _ in range(self.workers)]

    def _worker(self, model: Any) -> Worker:
        if not self._wrapping.sharded:
            self._stack.enter_context(attention_by_dialogue(model, self.flat))
        return Worker(
            model,
            flat=self.flat,
            extra=self._extra,
            in_place=model is self._model,
            during=self._wrapping.during(self.precision, self._device),
        )

    def _fuse(self) -> str:
        """Why nothing was fused, or ""."""
        if self._settings.speed == "portable":
            return "speed is portable"
        if self._wrapping.sharded:
            return "the weights are sharded"
        if draws(self._bare):
            return "the model drops activations at random"
        return fuse(
            self._crew,
            self.precision,
            self._longest,
            flat=self.flat,
            head=self._extra is None,
            stack=self._stack,
        )

    def refresh(self) -> None:
        """Copy changed weights into their copies of another precision; `gradients` and `losses` do it too."""
        refresh(self._model, self._casts)

    def gradients(self, step: Sequence[Encoded], learned: int | None = None) -> StepLoss:
        """Add the gradient of the summed loss over `learned` to `.grad` of the trainable parameters.

        Args:
            step: the dialogues of the step, or this process's share of them.
            learned: labelled tokens of the whole step over all processes; None: those of `step`.

        Returns:
            The loss of `step`. Under DDP and FSDP2, which average over processes, the gradient is that of
            the sum over all processes all the same.
        """
        self.refresh()
        averaged = self._wrapping.processes if self._wrapping.sharded else 1
        scale = averaged / max(1, learned_in(step) if learned is None else learned)
        shares, idle = self._shares(step)
        with self._attention():
            jobs = [
                self._pool.submit(worker.gradients, share, scale, idle)
                for worker, share in zip(self._crew, shares, strict=True)
            ]
            parts = [job.result() for job in jobs]
        self._collect()
        return StepLoss(
            sum(part.total for part in parts),
            sum(part.learned for part in parts),
            sum(part.extra for part in parts),
        )

    def _attention(self) -> AbstractContextManager[None]:
        """A model that is no copy attends by dialogue only while it is passed through."""
        return attention_by_dialogue(self._bare, self.flat and self._wrapping.sharded)

    def _collect(self) -> None:
        """Add the workers' gradients to the masters', always in the same order."""
        if self._wrapping.sharded:
            return
        import torch

        taken = [worker.take() for worker in self._crew]
        sums: list[torch.Tensor] = []
        for number, master in enumerate(self._masters):
            found = [gradients[number] for gradients in taken]
            whole = torch.zeros_like(master, dtype=torch.float32)
            for gradient in found:
                if gradient is not None:
                    whole += gradient
            sums.append(whole)
        for master, whole in zip(self._masters, self._wrapping.add_up(sums), strict=True):
            whole = whole.to(master.dtype)
            master.grad = whole if master.grad is None else master.grad.add_(whole)

    def losses(self, samples: Sequence[Encoded]) -> tuple[float, int]:
        """Summed loss (nats) and learned tokens of `samples`, nothing trained, nothing dropped."""
        self.refresh()
        shares, idle = self._shares(samples)
        with self._attention():
            jobs = [
                self._pool.submit(worker.losses, share, idle)
                for worker, share in zip(self._crew, shares, strict=True)
            ]
            parts = [job.result() for job in jobs]
        return sum(part[0] for part in parts), sum(part[1] for part in parts)

    def _shares(self, samples: Sequence[Encoded]) -> tuple[list[list[list[Encoded]]], int]:
        """Micro-batches of each worker, and how many of the last ones only keep step with other processes."""
        shares = micro_batches(samples, self._budget, self.workers, padded=not self.flat)
        idle = self._wrapping.most(len(shares[0]), self._device) - len(shares[0])
        shares[0] += [[_FILLER]] * idle
        return shares, idle


@contextmanager
def _as_it_was(model: Any) -> Iterator[None]:
    """Give every module its mode, training or not, back at the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@contextmanager
def _checkpointing(model: Any) -> Iterator[None]:
    """Recompute the activations of each layer in the backward pass."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # transformers 5 has both names, of which the first goes away.
    kind = "activation" if hasattr(base, "activation_checkpointing_enable") else "gradient"
    kwargs = {f"{kind}_checkpointing_kwargs": {"use_reentrant": False}}
    getattr(base, f"{kind}_checkpointing_enable")(**kwargs)
    try:
        yield
    finally:
        getattr(base, f"{kind}_checkpointing_disable")()
