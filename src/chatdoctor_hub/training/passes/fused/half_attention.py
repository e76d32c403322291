"""Causal attention within each short dialogue, its products in half precision and its scores in float32; CPU.

As flash attention on a GPU does (arXiv 2205.14135): the shares of the softmax are rounded, the scores are
not. They are kept for the backward pass, which is why dialogues have to be short.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from chatdoctor_hub.errors import MissingExtraError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["LONGEST", "half_attention_backward", "half_attention_forward"]

LONGEST = 256
"""Tokens of a dialogue; longer ones would hold more in shares than in everything else."""
# Products of a size seen before start faster: a dialogue is read with some rows of the next one, whose shares are 0.
_ROUND = 16


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
    windows = _windows(lengths)
    widest = max(window.stop - window.start for window in windows)
    later = torch.full((widest, widest), float("-inf")).triu_(1)
    shares = []
    for window, length in zip(windows, lengths, strict=True):
        q, k, _ = _heads(qkv[window], heads)
        scores = torch.baddbmm(later[: q.shape[1], : q.shape[1]], q, k.transpose(1, 2), alpha=scale)
        share = torch.softmax(scores, -1, out=scores).to(dtype)
        share[:, length:] = 0
        made = torch.bmm(share, _heads(half[window], heads)[2])
        out[window.start : window.start + length] = made[:, :length].transpose(0, 1)
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
    for window, length, share in zip(_windows(lengths), lengths, shares, strict=True):
        q, k, v = _heads(half[window], heads)
        dy = dout[window].transpose(0, 1)
        dscores = torch.baddbmm(rows[window].T.unsqueeze(2), dy, v.transpose(1, 2)).mul_(share)
        found = (torch.bmm(dscores, k), torch.bmm(dscores.mT, q), torch.bmm(share.mT, dy))
        parts = dqkv[window.start : window.start + length].split_with_sizes([heads[0], heads[1], heads[1]], 1)
        for grad, given in zip(found, parts, strict=True):
            if len(grad) != given.shape[1]:
                grad = grad.view(heads[1], -1, *grad.shape[1:]).sum(1)
            given.copy_(grad[:, :length].transpose(0, 1))
    return dqkv


def _windows(lengths: Sequence[int]) -> list[slice]:
    """Where each dialogue lies, with what makes its length a round one, as far as there are rows."""
    total = sum(lengths)
    starts = accumulate(lengths[:-1], initial=0)
    return [
        slice(start, min(start + length + -length % _ROUND, total))
        for start, length in zip(starts, lengths, strict=True)
    ]


def _heads(part: torch.Tensor, heads: tuple[int, int]) -> list[torch.Tensor]:
    """Queries, keys and values of a dialogue, (heads, length, size); keys repeated for groups of queries."""
    found = []
    for item in part.split_with_sizes([heads[0], heads[1], heads[1]], 1):
        item = item.transpose(0, 1)
        found.append(item if len(item) == heads[0] else item.repeat_interleave(heads[0] // heads[1], 0))
    return found
