"""Causal attention within each short dialogue, its products in half precision and its scores in float32; CPU.

As flash attention on a GPU does (arXiv 2205.14135): the shares of the softmax are rounded, the scores are
not. They are kept for the backward pass, which is why dialogues have to be short.
"""

from __future__ import annotations

from collections.abc import Sequence

from chatdoctor_hub.errors import MissingExtraError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["LONGEST", "half_attention_backward", "half_attention_forward"]

LONGEST = 256
"""Tokens of a dialogue; longer ones would hold more in shares than in everything else."""


def half_attention_forward(
    qkv: torch.Tensor, lengths: list[int], heads: tuple[int, int], scale: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
    """Outputs (T, heads * size) and qkv, both in `dtype`, and the shares of each dialogue.

    Args:
        qkv: (T, queries + keys + values, size), float32.
        lengths: of the dialogues.
        heads: how many queries, and how many keys and values.
        scale: of the scores.
        dtype: of the products but the scores'.
    """
    total, _, size = qkv.shape
    half = qkv.to(dtype)
    out = half.new_empty(total, heads[0], size)
    later = torch.full((max(lengths), max(lengths)), float("-inf")).triu_(1)
    shares = []
    for part, short, given in zip(
        *(item.split_with_sizes(lengths) for item in (qkv, half, out)), strict=True
    ):
        q, k, _ = _heads(part, heads)
        scores = torch.baddbmm(later[: len(part), : len(part)], q, k.transpose(1, 2), alpha=scale)
        share = torch.softmax(scores, -1).to(dtype)
        given.copy_(torch.bmm(share, _heads(short, heads)[2]).transpose(0, 1))
        shares.append(share)
    return out.view(total, -1), half, shares


def half_attention_backward(
    dout: torch.Tensor,
    half: torch.Tensor,
    out: torch.Tensor,
    shares: Sequence[torch.Tensor],
    lengths: list[int],
    heads: tuple[int, int],
) -> torch.Tensor:
    """The gradient of qkv, float32; that of queries and keys is still to be multiplied by the scale.

    Args:
        dout: (T, heads * size), in the dtype of `half`.
        half: from `half_attention_forward`.
        out: the same.
        shares: the same.
        lengths: of the dialogues.
        heads: how many queries, and how many keys and values.
    """
    total, _, size = half.shape
    dout, out = dout.view(total, heads[0], size), out.view(total, heads[0], size)
    dqkv = half.new_empty(half.shape, dtype=torch.float32)
    # The part of the softmax's gradient that all of a row share, with its sign turned.
    rows = (dout.float() * out).sum(-1).neg_().to(half.dtype)
    each = (item.split_with_sizes(lengths) for item in (dqkv, half, dout, rows))
    for dpart, part, dy, row, share in zip(*each, shares, strict=True):
        q, k, v = _heads(part, heads)
        dy = dy.transpose(0, 1)
        dscores = torch.baddbmm(row.T.unsqueeze(2), dy, v.transpose(1, 2)).mul_(share)
        found = (torch.bmm(dscores, k), torch.bmm(dscores.mT, q), torch.bmm(share.mT, dy))
        for grad, given in zip(found, dpart.split_with_sizes([heads[0], heads[1], heads[1]], 1), strict=True):
            if len(grad) != given.shape[1]:
                grad = grad.view(heads[1], -1, *grad.shape[1:]).sum(1)
            given.copy_(grad.transpose(0, 1))
    return dqkv


def _heads(part: torch.Tensor, heads: tuple[int, int]) -> list[torch.Tensor]:
    """Queries, keys and values of a dialogue, (heads, length, size); keys repeated for groups of queries."""
    found = []
    for item in part.split_with_sizes([heads[0], heads[1], heads[1]], 1):
        item = item.transpose(0, 1)
        found.append(item if len(item) == heads[0] else item.repeat_interleave(heads[0] // heads[1], 0))
    return found
