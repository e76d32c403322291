"""Rotary positions and causal attention within each dialogue, with gradients by hand; CPU, float32."""

from __future__ import annotations

from collections.abc import Sequence

from chatdoctor_hub.errors import MissingExtraError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["attention_backward", "attention_forward", "rotate_"]

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def rotate_(heads: torch.Tensor, cosine: torch.Tensor, sine: torch.Tensor, *, back: bool = False) -> None:
    """Turn queries or keys, (T, heads, size), by their positions in place (arXiv 2104.09864).

    Args:
        heads: turned in place.
        cosine: (T, 1, size / 2).
        sine: (T, 1, size / 2).
        back: turn back, which is the gradient.
    """
    first, second = heads.chunk(2, -1)
    turned = first * sine
    sign = 1.0 if back else -1.0
    first.mul_(cosine).addcmul_(second, sine, value=sign)
    second.mul_(cosine)
    second.sub_(turned) if back else second.add_(turned)


def attention_forward(
    qkv: torch.Tensor, lengths: list[int], heads: tuple[int, int], scale: float
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Outputs (T, heads * size), float32, and the log of the sums of each dialogue.

    Args:
        qkv: (T, queries + keys + values, size), float32.
        lengths: of the dialogues.
        heads: how many queries, and how many keys and values.
        scale: of the scores.
    """
    total, _, size = qkv.shape
    out = qkv.new_empty(total, heads[0], size)
    sums = []
    for part, given in zip(qkv.split_with_sizes(lengths), out.split_with_sizes(lengths), strict=True):
        y, more = _forward(*_heads(part, heads), 0.0, True, scale=scale)
        given.copy_(y[0].transpose(0, 1))
        sums.append(more)
    return out.view(total, -1), sums


def attention_backward(
    dout: torch.Tensor,
    qkv: torch.Tensor,
    out: torch.Tensor,
    sums: Sequence[torch.Tensor],
    lengths: list[int],
    heads: tuple[int, int],
    scale: float,
) -> torch.Tensor:
    """The gradient of qkv; same shapes as in `attention_forward`."""
    total, _, size = qkv.shape
    dqkv = torch.empty_like(qkv)
    each = (dqkv, qkv, out.view(total, heads[0], size), dout.view(total, heads[0], size))
    for dpart, part, y, dy, more in zip(
        *(item.split_with_sizes(lengths) for item in each), sums, strict=True
    ):
        wide = [item.transpose(0, 1).unsqueeze(0) for item in (dy, y)]
        found = _backward(wide[0], *_heads(part, heads), wide[1], more, 0.0, True, scale=scale)
        for grad, given in zip(found, dpart.split_with_sizes([heads[0], heads[1], heads[1]], 1), strict=True):
            grad = grad[0].transpose(0, 1)
            if grad.shape != given.shape:
                grad = grad.reshape(len(grad), heads[1], -1, size).sum(2)
            given.copy_(grad)
    return dqkv


def _heads(part: torch.Tensor, heads: tuple[int, int]) -> list[torch.Tensor]:
    """Queries, keys and values of a dialogue, (1, heads, length, size); keys repeated for groups of queries."""
    found = []
    for item in part.split_with_sizes([heads[0], heads[1], heads[1]], 1):
        if item.shape[1] != heads[0]:
            item = item.repeat_interleave(heads[0] // heads[1], 1)
        found.append(item.transpose(0, 1).unsqueeze(0))
    return found
