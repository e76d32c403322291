"""The two halves of a Llama block, x + attention(norm(x)) and x + mlp(norm(x)), each with its gradient by hand.

Nothing is computed for the frozen weights, nothing for the first block's input where that needs no
gradient, and no intermediate is held twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.branches import Branch
from chatdoctor_hub.training.passes.fused.dialogue_attention import (
    attention_backward,
    attention_forward,
    rotate_,
)
from chatdoctor_hub.training.passes.fused.half_attention import (
    LONGEST,
    half_attention_backward,
    half_attention_forward,
)
from chatdoctor_hub.training.passes.fused.norms import norm_backward, norm_forward
from chatdoctor_hub.training.passes.fused.products import Products

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["AttentionHalf", "MlpHalf", "Norm", "Places"]


@dataclass(frozen=True)
class Norm:
    """Weight and epsilon of a normalisation."""

    weight: torch.Tensor
    epsilon: float


@dataclass(frozen=True)
class Places:
    """Where the dialogues of a flat batch lie.

    Args:
        lengths: of the dialogues.
        cosine, sine: (T, 1, size / 2), float32, of the rotary positions.
        rows: (n,) those that are wanted of the last block's output, possibly with repetitions whose
            gradient is 0; None: all.
    """

    lengths: list[int]
    cosine: torch.Tensor
    sine: torch.Tensor
    rows: torch.Tensor | None = None


class _AttentionFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, half: AttentionHalf, places: Places, x: torch.Tensor, *_: torch.Tensor) -> Any:
        h, inverse = norm_forward(x, half.norm.weight, half.norm.epsilon)
        flat, read = half.qkv.forward(h)
        qkv = flat.float().view(len(x), -1, half.size)
        rotate_(qkv[:, : sum(half.heads)], places.cosine, places.sine)
        ctx.short = x.dtype != torch.float32 and max(places.lengths) <= LONGEST
        if ctx.short:
            out, qkv, kept = half_attention_forward(qkv, places.lengths, half.heads, half.scale, x.dtype)
        else:
            out, kept = attention_forward(qkv, places.lengths, half.heads, half.scale)
        given = (out if places.rows is None else out[places.rows]).to(x.dtype)
        y, written = half.out.forward(given)
        ctx.half, ctx.places, ctx.read, ctx.written = half, places, read, written
        ctx.save_for_backward(x, h, inverse, qkv, out, given, *kept)
        return y.add_(x if places.rows is None else x[places.rows])

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        half, places = ctx.half, ctx.places
        x, h, inverse, qkv, out, given, *kept = ctx.saved_tensors
        further = ctx.needs_input_grad[2]
        dout, by_out = half.out.backward(dy, given, ctx.written, further=True)
        if places.rows is not None:
            dout = torch.zeros_like(out).index_add_(0, places.rows, dout.to(out.dtype))
            dy = torch.zeros_like(x).index_add_(0, places.rows, dy) if further else dy
        turn = (places.cosine, places.sine)
        if ctx.short:
            dqkv = half_attention_backward(dout, qkv, out, kept, places.lengths, half.heads)
            turn = (places.cosine * half.scale, places.sine * half.scale)
        else:
            dqkv = attention_backward(dout.float(), qkv, out, kept, places.lengths, half.heads, half.scale)
        rotate_(dqkv[:, : sum(half.heads)], *turn, back=True)
        dh, by_qkv = half.qkv.backward(dqkv.view(len(x), -1).to(x.dtype), h, ctx.read, further=further)
        dx = None if dh is None else norm_backward(dh, x, inverse, half.norm.weight).add_(dy).to(x.dtype)
        return None, None, dx, *by_qkv, *by_out


class AttentionHalf:
    """x + O attention(rotary(Q h), rotary(K h), V h) with h = norm(x), for x of shape (T, d).

    Args:
        norm: of the input.
        qkv: the products of h.
        out: the product of the attention's output.
        heads: how many queries, and how many keys and values.
        size: of a head.
        scale: of the scores.
    """

    def __init__(
        self, norm: Norm, qkv: Products, out: Products, heads: tuple[int, int], size: int, scale: float
    ) -> None:
        self.norm, self.qkv, self.out = norm, qkv, out
        self.heads, self.size, self.scale = heads, size, scale
        self.masters = [*qkv.masters, *out.masters]

    def refresh(self) -> None:
        """Take the values of the branches' parameters over."""
        self.qkv.refresh()
        self.out.refresh()

    def __call__(self, x: torch.Tensor, places: Places) -> torch.Tensor:
        """The half's output, (T, d), or (n, d) where only some rows are wanted."""
        given: torch.Tensor = _AttentionFunction.apply(self, places, x, *self.masters)  # type: ignore[no-untyped-call]
        return given


class _MlpFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, half: MlpHalf, x: torch.Tensor, *_: torch.Tensor) -> Any:
        h, inverse = norm_forward(x, half.norm.weight, half.norm.epsilon)
        wide, read = half.read.forward(h)
        gate, up = wide.chunk(2, 1)
        lit = torch.nn.functional.silu(gate)
        product = lit * up
        y, written = half.down.forward(product)
        ctx.half, ctx.read, ctx.written = half, read, written
        if half.beside:
            ctx.beside = half.beside.taken(h)
            y.addmm_(ctx.beside[1], half.beside.up.T)
        ctx.save_for_backward(x, h, inverse, wide, lit, product)
        return y.add_(x)

    @staticmethod
    def backward(ctx: Any, dy: torch.Tensor) -> Any:
        half: MlpHalf = ctx.half
        x, h, inverse, wide, lit, product = ctx.saved_tensors
        further = ctx.needs_input_grad[1]
        dproduct, by_down = half.down.backward(dy, product, ctx.written, further=True)
        assert dproduct is not None
        gate, up = wide.chunk(2, 1)
        dwide = torch.empty_like(wide)
        dgate, dup = dwide.chunk(2, 1)
        torch.mul(dproduct, lit, out=dup)
        torch.ops.aten.silu_backward.grad_input(dproduct.mul_(up), gate, grad_input=dgate)
        dh, by_read = half.read.backward(dwide, h, ctx.read, further=further)
        by_beside: list[torch.Tensor] = []
        if half.beside:
            dz, by_beside = half.beside.gradients(dy, h, *ctx.beside)
            if dh is not None:
                dh.addmm_(dz, half.beside.down)
        dx = None if dh is None else norm_backward(dh, x, inverse, half.norm.weight).add_(dy).to(x.dtype)
        return None, dx, *by_read, *by_down, *by_beside


class MlpHalf:
    """x + D (silu(G h) * U h) with h = norm(x), for x of shape (T, d).

    Args:
        norm: of the input.
        read: the products G and U of h.
        down: the product D.
        beside: a branch that reads h too, beside the whole (a parallel adapter of the block), or None.
    """

    def __init__(self, norm: Norm, read: Products, down: Products, beside: Branch | None = None) -> None:
        self.norm, self.read, self.down, self.beside = norm, read, down, beside
        self.masters = [*read.masters, *down.masters, *(beside.masters if beside else [])]

    def refresh(self) -> None:
        """Take the values of the branches' parameters over."""
        self.read.refresh()
        if self.beside:
            self.beside.refresh()
        self.down.refresh()

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The half's output, (T, d)."""
        given: torch.Tensor = _MlpFunction.apply(self, x, *self.masters)  # type: ignore[no-untyped-call]
        return given
