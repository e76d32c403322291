"""Threads that work on parts of one optimizer step, and the float32 weights they share.

On a CPU the operations of a small model are too short to be split over cores, so each core takes some of
the step's dialogues instead: a copy of the module per thread, all copies on the same weights. Gradients
are added in a fixed order, so the result does not depend on which thread is faster.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.encoding import Encoded
from chatdoctor_hub.training.passes import loss_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

__all__ = ["Workers", "bfloat16_pays", "one_thread_each", "threads_for"]


def bfloat16_pays(device: torch.device) -> bool:
    """Whether matrix products are at least 1.5 times faster in bfloat16 than in float32 on this device."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu":
        return False
    took = {}
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.ones(1024, 256, dtype=dtype), torch.ones(256, 1024, dtype=dtype)
        times = []
        for _ in range(6):
            start = time.perf_counter()
            a @ b
            times.append(time.perf_counter() - start)
        took[dtype] = min(times)
    return took[torch.float32] > 1.5 * took[torch.bfloat16]


@contextmanager
def one_thread_each(workers: int) -> Iterator[None]:
    """Give every worker an equal share of the cores for the operations inside it."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(max(1, before // workers))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def threads_for(model: Any) -> Iterator[None]:
    """One thread for a model whose operations are too short to be shared between cores (under 50 M parameters)."""
    import torch

    small = sum(parameter.numel() for parameter in model.parameters()) < 50_000_000
    with one_thread_each(torch.get_num_threads() if small else 1):
        yield


class Workers(AbstractContextManager["Workers"]):
    """Copies of a model that compute gradients of a step together.

    Args:
        model: in the precision of the passes; its trainable parameters get their values from `masters`.
        count: threads; 1 uses the model itself.
        flat: whether dialogues are laid end to end (`passes.takes_flat`).
    """

    def __init__(self, model: Any, count: int, *, flat: bool) -> None:
        self._flat = flat
        self._models = [model, *(_twin(model) for _ in range(count - 1))]
        self._trained = [[p for p in twin.parameters() if p.requires_grad] for twin in self._models]
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="chatdoctor-worker")
        self.masters = [_master(parameter) for parameter in self._trained[0]]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def gradients(self, shares: Sequence[Sequence[Sequence[Encoded]]]) -> tuple[float, int]:
        """Put the gradient of the mean loss over all learned tokens of the step into `masters`.

        Returns:
            The summed loss (nats) and the number of learned tokens.
        """
        import torch

        jobs = [self._pool.submit(self._work, number, share) for number, share in enumerate(shares) if share]
        results = [job.result() for job in jobs]
        total, count = sum(result[0] for result in results), sum(result[1] for result in results)
        with torch.no_grad():
            for number, master in enumerate(self.masters):
                summed = results[0][2][number]
                for result in results[1:]:
                    summed += result[2][number]
                master.grad = summed.div_(max(count, 1))
        return total, count

    def _work(self, number: int, share: Sequence[Sequence[Encoded]]) -> tuple[float, int, list[torch.Tensor]]:
        import torch

        model, trained = self._models[number], self._trained[number]
        sums = [torch.zeros_like(parameter, dtype=torch.float32) for parameter in trained]
        total, count = 0.0, 0
        for batch in share:
            loss, tokens = loss_of(model, batch, flat=self._flat)
            loss.backward()  # type: ignore[no-untyped-call]
            total, count = total + loss.item(), count + tokens
            with torch.no_grad():
                for parameter, summed in zip(trained, sums, strict=True):
                    if parameter.grad is not None:
                        summed += parameter.grad
                        parameter.grad = None
        return total, count, sums

    def step(self, optimizers: Sequence[torch.optim.Optimizer], max_norm: float) -> None:
        """Clip, step the optimizers side by side, and copy the masters into the model of the passes."""
        import torch

        torch.nn.utils.clip_grad_norm_(self.masters, max_norm)
        list(self._pool.map(lambda optimizer: optimizer.step(), optimizers))
        with torch.no_grad():
            for parameter, master in zip(self._trained[0], self.masters, strict=True):
                master.grad = None
                if master is not parameter:
                    parameter.copy_(master)

    def losses(self, batches: Sequence[Sequence[Encoded]]) -> tuple[float, int]:
        """Summed loss and learned tokens over `batches`, nothing trained."""
        import torch

        def measure(number: int) -> tuple[float, int]:
            total, count = 0.0, 0
            model = self._models[number]
            was_training = model.training
            model.eval()
            with torch.inference_mode():
                for batch in batches[number :: len(self._models)]:
                    loss, tokens = loss_of(model, batch, flat=self._flat)
                    total, count = total + loss.item(), count + tokens
            model.train(was_training)
            return total, count

        results = list(self._pool.map(measure, range(len(self._models))))
        return sum(result[0] for result in results), sum(result[1] for result in results)


def _twin(model: Any) -> Any:
    """A copy of the module that shares every weight and buffer but has gradients of its own."""
    import torch

    memo: dict[int, Any] = {id(buffer): buffer for buffer in model.buffers()}
    for parameter in model.parameters():
        memo[id(parameter)] = torch.nn.Parameter(parameter.data, requires_grad=parameter.requires_grad)
    return copy.deepcopy(model, memo)


def _master(parameter: torch.nn.Parameter) -> torch.nn.Parameter:
    import torch

    if parameter.dtype == torch.float32:
        return parameter
    return torch.nn.Parameter(parameter.detach().float())
