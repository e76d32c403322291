"""The forward pass of a padded micro-batch: for models that cannot take dialogues end to end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data.encoded import Encoded

if TYPE_CHECKING:
    import torch

__all__ = ["Padded", "pad", "padded_logits"]


@dataclass(frozen=True)
class Padded:
    """Some dialogues side by side, padded on the right.

    Args:
        ids: (dialogues, T) token ids.
        mask: (dialogues, T), 1 for real tokens.
        rows, columns: (n,) each, the positions whose next token is learned.
        targets: (n,) those next tokens.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor


def pad(samples: Sequence[Encoded], device: Any = "cpu") -> Padded:
    """Lay samples side by side."""
    import numpy
    import torch

    shape = (len(samples), max(len(sample) for sample in samples))
    ids: Any = numpy.zeros(shape, dtype=numpy.int64)
    mask: Any = numpy.zeros_like(ids)
    learned: Any = numpy.zeros(shape, dtype=bool)
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = numpy.asarray(sample.ids)
        mask[row, : len(sample)] = 1
        learned[row, : len(sample)] = numpy.asarray(sample.labelled)
    rows, columns = numpy.nonzero(learned[:, 1:])
    targets = ids[rows, columns + 1]
    made = (torch.from_numpy(item).to(device) for item in (ids, mask, rows, columns, targets))
    return Padded(*made)


def padded_logits(model: Any, batch: Padded) -> torch.Tensor:
    """(n, vocabulary) logits at the learned positions, by the model's own attention."""
    import torch

    more: dict[str, Any] = {}
    columns = batch.columns
    if _keeps_logits(model) and len(columns):
        # Columns in which some dialogue learns; the others need no logits.
        more["logits_to_keep"], columns = torch.unique(columns, return_inverse=True)
    output = model(input_ids=batch.ids, attention_mask=batch.mask, use_cache=False, **more)
    logits: torch.Tensor = output.logits[batch.rows, columns]
    return logits


def _keeps_logits(model: Any) -> bool:
    import inspect

    base = getattr(model, "module", model)
    base = base.get_base_model() if hasattr(base, "get_base_model") else base
    return "logits_to_keep" in inspect.signature(type(base).forward).parameters
