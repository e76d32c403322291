"""The forward pass of a micro-batch: dialogues laid end to end, none sees another, no padding.

Linear layers run over exactly the real tokens; attention runs dialogue by dialogue; logits are made for
the labelled positions only. The gradient is that of the padded batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.training.encoding import Encoded

if TYPE_CHECKING:
    import torch

__all__ = ["Flat", "attention_by_dialogue", "flatten", "logits_of", "loss_of", "takes_flat"]

_ATTENTION = "chatdoctor_flat"
_UNLEARNED = -100
_MORE_THAN_CAUSAL = ("softcap", "s_aux")
# Matrix products of a size seen before start faster and reuse their memory.
_ROUND = 64


@dataclass(frozen=True)
class Flat:
    """Some dialogues end to end.

    Args:
        ids: (1, T) token ids.
        positions: (1, T), from 0 in each dialogue.
        bounds: (dialogues + 1,) where each begins, and T.
        keep: (n,) positions whose next token is learned.
        targets: (n,) those next tokens, or -100.
    """

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    keep: torch.Tensor
    targets: torch.Tensor


def flatten(samples: Sequence[Encoded], device: Any = "cpu") -> Flat:
    """Lay samples end to end; a label never crosses from one dialogue into the next.

    T and n are rounded up, T with a dialogue of its own that nothing is learned from.
    """
    import torch

    bounds = [0, *accumulate(len(sample) for sample in samples)]
    keep = [
        start + at - 1
        for start, sample in zip(bounds, samples, strict=False)
        for at in range(1, len(sample))
        if sample.labelled[at]
    ]
    ids = [token for sample in samples for token in sample.ids]
    positions = [at for sample in samples for at in range(len(sample))]
    targets = [ids[at + 1] for at in keep]
    spare = -len(ids) % _ROUND
    if spare:
        bounds.append(len(ids) + spare)
        ids += [0] * spare
        positions += range(spare)
    spare = -len(keep) % _ROUND
    keep += [0] * spare
    targets += [_UNLEARNED] * spare
    return Flat(
        torch.tensor([ids], device=device),
        torch.tensor([positions], device=device),
        torch.tensor(bounds, dtype=torch.int32),
        torch.tensor(keep, device=device),
        torch.tensor(targets, device=device),
    )


def _attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    scaling: Any = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Any, None]:
    """Causal attention within each dialogue. Shapes (1, heads, T, size); float32, whose backward is the
    faster one on a CPU.

    Raises:
        ValueError: for attention that does more than this (`takes_flat` finds out).
    """
    import torch

    lengths = more["cu_seq_lens_q"].diff().tolist()
    if any(more.get(name) is not None for name in _MORE_THAN_CAUSAL):
        raise ValueError("attention with capped scores or sinks")
    if (more.get("sliding_window") or max(lengths)) < max(lengths):
        raise ValueError("a window shorter than a dialogue")
    grouped = query.shape[1] != key.shape[1]
    parts = (tensor.float().split(lengths, dim=2) for tensor in (query, key, value))
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=grouped
        )
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous().to(query.dtype), None


@contextmanager
def attention_by_dialogue(model: Any, flat: bool = True) -> Iterator[None]:
    """Make `model` attend dialogue by dialogue while inside (transformers' attention interface).

    Raises:
        ValueError: when the model's class does not let its attention be chosen.
    """
    if not flat:
        yield
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import AttentionMaskInterface

    AttentionInterface.register(_ATTENTION, _attend)
    AttentionMaskInterface.register(_ATTENTION, lambda *args, **kwargs: None)
    before = model.config._attn_implementation
    model.set_attn_implementation(_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def logits_of(model: Any, flat: Flat) -> torch.Tensor:
    """(n, vocabulary) logits at the kept positions."""
    longest = int(flat.bounds.diff().max())
    output = model(
        input_ids=flat.ids,
        position_ids=flat.positions,
        cu_seq_lens_q=flat.bounds,
        cu_seq_lens_k=flat.bounds,
        max_length_q=longest,
        max_length_k=longest,
        logits_to_keep=flat.keep,
        use_cache=False,
    )
    logits: torch.Tensor = output.logits[0]
    return logits


def loss_of(model: Any, samples: Sequence[Encoded], *, flat: bool) -> tuple[torch.Tensor, int]:
    """Sum of the negative log-likelihoods (nats) of the learned tokens, and how many they are.

    Args:
        model: any causal language model.
        samples: the micro-batch.
        flat: end to end (needs `takes_flat`); else padded on the right, by the model's own attention.
    """
    import torch

    if flat:
        batch = flatten(samples, model.device)
        logits, targets = logits_of(model, batch), batch.targets
    else:
        logits, targets = _padded_logits(model, samples)
    loss = torch.nn.functional.cross_entropy(logits.float(), targets, reduction="sum")
    return loss, int((targets != _UNLEARNED).sum())


def _padded_logits(model: Any, samples: Sequence[Encoded]) -> tuple[torch.Tensor, torch.Tensor]:
    import torch

    longest = max(len(sample) for sample in samples)
    ids = torch.zeros(len(samples), longest, dtype=torch.long)
    mask = torch.zeros_like(ids)
    learned = torch.zeros(len(samples), longest, dtype=torch.bool)
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = torch.tensor(sample.ids)
        mask[row, : len(sample)] = 1
        learned[row, : len(sample)] = torch.tensor(sample.labelled)
    learned[:, 0] = False
    ids, mask, learned = (tensor.to(model.device) for tensor in (ids, mask, learned))
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    return logits[:, :-1][learned[:, 1:]], ids[:, 1:][learned[:, 1:]]


def takes_flat(model: Any, samples: Sequence[Encoded]) -> bool:
    """Whether the flat pass gives the logits that each dialogue of `samples` has alone (in float32).

    Architectures that ignore position ids, slide a window shorter than a dialogue, or reach into
    attention in ways of their own are found out here rather than listed: give the longest dialogue
    among `samples`.
    """
    import torch

    with torch.no_grad():
        alone = [
            model(input_ids=torch.tensor([sample.ids], device=model.device), use_cache=False).logits[0]
            for sample in samples
        ]
        try:
            with attention_by_dialogue(model):
                batch = flatten(samples, model.device)
                together = logits_of(model, batch)[batch.targets != _UNLEARNED]
        except (ValueError, TypeError, KeyError, RuntimeError):
            return False
    expected = torch.cat(
        [
            logits[[at - 1 for at in range(1, len(sample)) if sample.labelled[at]]]
            for logits, sample in zip(alone, samples, strict=True)
        ]
    )
    error = (together.float() - expected.float()).abs().max() / expected.float().abs().max().clamp(min=1e-6)
    return bool(error < 1e-3)
