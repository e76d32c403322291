"""The forward pass of a micro-batch: dialogues laid end to end, none sees another, no padding.

Linear layers run over exactly the real tokens; attention runs dialogue by dialogue; logits are made for
the labelled positions only. The gradient is that of the padded batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes.attention import attention_by_dialogue
from chatdoctor_hub.training.passes.padded import Padded, padded_logits

if TYPE_CHECKING:
    import torch

__all__ = ["Flat", "flatten", "logits_of", "puts_tokens_before", "takes_flat"]

_UNLEARNED = -100
# Matrix products of a size seen before start faster and reuse their memory.
_ROUND = 64


@dataclass(frozen=True)
class Flat:
    """Some dialogues end to end.

    Args:
        ids: (1, T) token ids.
        positions: (1, T), from 0 in each dialogue.
        bounds: (dialogues + 1,) where each begins, and T; on the CPU.
        longest: tokens of the longest dialogue.
        keep: (n,) positions whose next token is learned.
        targets: (n,) those next tokens, or -100.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    longest: int
    keep: torch.Tensor
    targets: torch.Tensor


def flatten(samples: Sequence[Encoded], device: Any = "cpu") -> Flat:
    """Lay samples end to end; a label never crosses from one dialogue into the next.

    T and n are rounded up, T with a dialogue of its own that nothing is learned from.
    """
    import numpy
    import torch

    lengths = [len(sample) for sample in samples]
    spare = -sum(lengths) % _ROUND
    filler: list[Any] = [numpy.zeros(spare, dtype=numpy.int64)] if spare else []
    ids: Any = numpy.concatenate(
        [*(numpy.asarray(sample.ids, dtype=numpy.int64) for sample in samples), *filler]
    )
    learned: Any = numpy.concatenate([*(numpy.asarray(sample.labelled, dtype=bool) for sample in samples)])
    bounds = [0, *accumulate(lengths)]
    learned[bounds[:-1]] = False
    if spare:
        bounds.append(len(ids))
    inside: Any = numpy.diff(bounds)
    positions = numpy.arange(len(ids)) - numpy.repeat(bounds[:-1], inside)
    found = numpy.flatnonzero(learned)
    n = len(found)
    keep: Any = numpy.zeros(n + -n % _ROUND, dtype=numpy.int64)
    targets: Any = numpy.full_like(keep, _UNLEARNED)
    keep[:n], targets[:n] = found - 1, ids[found]
    return Flat(
        torch.from_numpy(ids[None]).to(device),
        torch.from_numpy(positions[None]).to(device),
        torch.tensor(bounds, dtype=torch.int32),
        int(inside.max()),
        torch.from_numpy(keep).to(device),
        torch.from_numpy(targets).to(device),
    )


def logits_of(model: Any, batch: Flat | Padded, *, kept: bool = False) -> torch.Tensor:
    """(n, vocabulary) logits at the kept positions; a flat batch needs `attention_by_dialogue`.

    Args:
        model: any causal language model.
        batch: what goes in.
        kept: whether the model's last block gives the kept positions of a flat batch alone (`FusedModel.keeps`).
    """
    if isinstance(batch, Padded):
        return padded_logits(model, batch)
    output = model(
        input_ids=batch.ids,
        position_ids=batch.positions,
        cu_seq_lens_q=batch.bounds,
        cu_seq_lens_k=batch.bounds,
        max_length_q=batch.longest,
        max_length_k=batch.longest,
        logits_to_keep=0 if kept else batch.keep,
        use_cache=False,
        **({"kept_rows": batch.keep} if kept else {}),
    )
    logits: torch.Tensor = output.logits[0]
    return logits


def takes_flat(model: Any, samples: Sequence[Encoded]) -> bool:
    """Whether the flat pass gives the logits that each dialogue of `samples` has alone (in float32).

    Architectures that ignore position ids, slide a window shorter than a dialogue, or reach into
    attention in ways of their own are found out here rather than listed: give the longest dialogue
    among `samples`.
    """
    import numpy
    import torch

    if not samples or puts_tokens_before(model):
        return False
    tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 5e-2
    with torch.no_grad():
        alone = []
        for sample in samples:
            ids = torch.from_numpy(numpy.asarray(sample.ids, dtype=numpy.int64)[None]).to(model.device)
            kept = numpy.flatnonzero(numpy.asarray(sample.labelled, dtype=bool)[1:])
            alone.append(model(input_ids=ids, use_cache=False).logits[0][torch.from_numpy(kept)])
        try:
            with attention_by_dialogue(model):
                batch = flatten(samples, model.device)
                together = logits_of(model, batch)[batch.targets != _UNLEARNED]
        except (ValueError, TypeError, KeyError, RuntimeError):
            return False
    expected = torch.cat(alone).float()
    if not expected.numel():
        return False
    error = (together.float() - expected).norm() / expected.norm().clamp(min=1e-6)
    return bool(error < tolerance)


def puts_tokens_before(model: Any) -> bool:
    """Whether PEFT puts virtual tokens before each row, as prefix tuning does."""
    config = getattr(model, "active_peft_config", None)
    return bool(config is not None and config.is_prompt_learning)
