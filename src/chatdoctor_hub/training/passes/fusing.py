"""Whether and how the workers' models run fused: what is tried, and why it may not be done."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes.flat import flatten, logits_of
from chatdoctor_hub.training.passes.padded import pad
from chatdoctor_hub.training.passes.worker import Worker

if TYPE_CHECKING:
    import torch

__all__ = ["fuse"]


def fuse(
    crew: Sequence[Worker],
    precision: torch.dtype,
    probe: Sequence[Encoded],
    *,
    flat: bool,
    head: bool,
    stack: ExitStack,
) -> str:
    """Put fused layers into each worker's model, if they give the logits of its own layers for `probe`.

    Args:
        crew: the workers.
        precision: of the passes.
        probe: dialogues to try it on.
        flat: whether batches lie flat.
        head: whether the loss may be worked out from what the head gets.
        stack: given what undoes it.

    Returns:
        Why it was not done, or "".
    """
    import torch

    from chatdoctor_hub.training.passes.fused.patches import FusedHead, FusedModel
    from chatdoctor_hub.training.passes.fused.sites import NotFusedError

    first = crew[0]
    expected = _logits(first, probe, flat) if probe else None
    undo = stack.enter_context(ExitStack())
    why = ""
    try:
        for worker in crew:
            worker.fused = FusedModel(worker.model, precision, flat=flat)
            undo.callback(worker.unfuse)
    except NotFusedError as reason:
        undo.close()
        why = str(reason)
    if not why and expected is not None and not _alike(_logits(first, probe, flat), expected):
        undo.close()
        why = "the fused layers give other logits than this model's own"
    if not head:
        return why
    for worker in crew:
        worker.head = FusedHead.of(worker.model, precision)
        stack.callback(worker.without_head)
    if first.head and expected is not None:
        with torch.no_grad():
            batch = (flatten if flat else pad)(probe, first.device)
            hidden = first.hidden(batch)[batch.targets >= 0]
        fits = hidden.shape[-1] == first.head.weight.shape[1]
        if not fits or not _alike(torch.nn.functional.linear(hidden, first.head.weight), expected):
            for worker in crew:
                worker.without_head()
    return why


def _logits(worker: Worker, probe: Sequence[Encoded], flat: bool) -> torch.Tensor:
    import torch

    if worker.fused:
        worker.fused.refresh()
    with torch.no_grad():
        batch = (flatten if flat else pad)(probe, worker.device)
        return logits_of(worker.model, batch)[batch.targets >= 0]


def _alike(found: torch.Tensor, expected: torch.Tensor) -> bool:
    import torch

    if not expected.numel():
        return True
    tolerance = 1e-4 if expected.dtype == torch.float32 else 5e-2
    return bool((found.float() - expected.float()).norm() <= tolerance * expected.float().norm())
