"""Attention within each of several dialogues that lie end to end, through transformers' attention interface."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["attend_by_dialogue", "attention_by_dialogue"]

_ATTENTION = "chatdoctor_flat"
_MORE_THAN_CAUSAL = ("softcap", "s_aux")


def attend_by_dialogue(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    mask: Any,
    scaling: Any = None,
    dropout: float = 0.0,
    **more: Any,
) -> tuple[Any, None]:
    """Causal attention within each dialogue. Shapes (1, heads, T, size).

    In float32 on a CPU, whose backward is the faster one there; by the variable-length kernel on a GPU in
    half precision.

    Raises:
        ValueError: for attention that does more than this (`takes_flat` finds out).
    """
    import torch

    if any(more.get(name) is not None for name in _MORE_THAN_CAUSAL):
        raise ValueError("attention with capped scores or sinks")
    longest = more["max_length_q"]
    if (more.get("sliding_window") or longest) < longest:
        raise ValueError("a window shorter than a dialogue")
    grouped = query.shape[1] != key.shape[1]
    if query.is_cuda and query.dtype != torch.float32 and not dropout:
        return _varlen(query, key, value, scaling, grouped, more["cu_seq_lens_q"], longest), None
    lengths = more["cu_seq_lens_q"].diff().tolist()
    wide = (query, key, value) if query.is_cuda else (query.float(), key.float(), value.float())
    parts = (tensor.split(lengths, dim=2) for tensor in wide)
    outputs = [
        torch.nn.functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, scale=scaling, dropout_p=dropout, enable_gqa=grouped
        )
        for q, k, v in zip(*parts, strict=True)
    ]
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous().to(query.dtype), None


def _varlen(query: Any, key: Any, value: Any, scaling: Any, grouped: bool, bounds: Any, longest: int) -> Any:
    from torch.nn.attention.varlen import varlen_attn

    q, k, v = (tensor[0].transpose(0, 1) for tensor in (query, key, value))
    bounds = bounds.to(query.device)
    given: Any = varlen_attn(
        q, k, v, bounds, bounds, longest, longest, scale=scaling, window_size=(-1, 0), enable_gqa=grouped
    )
    return given.unsqueeze(0)


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

    AttentionInterface.register(_ATTENTION, attend_by_dialogue)
    AttentionMaskInterface.register(_ATTENTION, lambda *args, **kwargs: None)
    model = getattr(model, "module", model)
    before = model.config._attn_implementation
    model.set_attn_implementation(_ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(before)
