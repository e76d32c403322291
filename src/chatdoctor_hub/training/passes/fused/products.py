"""The products of linear layers that read the same input, base and branches together, by hand."""

from __future__ import annotations

from collections.abc import Sequence

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.branches import Branch
from chatdoctor_hub.training.passes.fused.stack import Stack

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["Products", "Saved"]

Saved = list[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]
"""z and a of each branch, and what a branch behind its layer read."""


class Products:
    """y_i = W_i x + b_i + s_i U_i sigma(D_i x) of layers i that read one input; all W, b frozen.

    Args:
        weights: W_i, (o_i, d) each. Those that lie behind each other in one tensor are multiplied at once.
        biases: b_i or None each.
        branches: beside each layer, or None.
        after: behind the layer, of which there is then one: y = h + s U sigma(D h) with h = W x + b.
    """

    def __init__(
        self,
        weights: Sequence[torch.Tensor],
        biases: Sequence[torch.Tensor | None],
        branches: Sequence[Branch | None],
        after: Branch | None = None,
    ) -> None:
        self._weights = [weight.detach() for weight in weights]
        self._whole = _joined(self._weights)
        self._biases = [None if bias is None else bias.detach() for bias in biases]
        self._bias = _joined_bias(self._weights, self._biases) if self._whole is not None else None
        self.sizes = [len(weight) for weight in weights]
        self._after = after
        self._stack = Stack(branches, self.sizes) if any(branches) else None
        self._all = [branch for branch in (*branches, after) if branch]
        self.masters = [master for branch in self._all for master in branch.masters]

    def refresh(self) -> None:
        """Take the values of the branches' parameters over."""
        for branch in self._all:
            branch.refresh()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, Saved]:
        """(T, sum of o_i) outputs beside each other, and what the backward pass needs beside x, (T, d)."""
        linear = torch.nn.functional.linear
        if self._whole is not None:
            y = linear(x, self._whole, self._bias)
        else:
            y = torch.cat([linear(x, w, b) for w, b in zip(self._weights, self._biases, strict=True)], 1)
        saved: Saved = []
        if self._stack:
            z, a = self._stack.taken(x)
            self._stack.add_to(y, a)
            saved = [(z, a, None)]
        if self._after:
            z, a = self._after.taken(y)
            saved.append((z, a, y))
            y = torch.addmm(y, a, self._after.up.T)
        return y, saved

    def backward(
        self,
        dy: torch.Tensor | Sequence[torch.Tensor | None],
        x: torch.Tensor,
        saved: Saved,
        *,
        further: bool,
    ) -> tuple[torch.Tensor | None, list[torch.Tensor | None]]:
        """The gradient of x (None unless `further`), and those of `masters`.

        Args:
            dy: the gradient of the outputs beside each other, or of each; None for one that nothing read.
            x: (T, d), the input.
            saved: from `forward`.
            further: whether the gradient of x is wanted.
        """
        behind: list[torch.Tensor] = []
        if self._after and isinstance(dy, torch.Tensor):
            z, a, h = saved[-1]
            assert h is not None
            dz, behind = self._after.gradients(dy, h, z, a)
            dy = torch.addmm(dy, dz, self._after.down)
        dx = self._base_gradient(dy, x) if further else None
        if not self._stack:
            return dx, [*behind]
        z, a, _ = saved[0]
        dz, found = self._stack.gradients(dy, x, z, a)
        if dx is not None:
            dx.addmm_(dz, self._stack.down)
        return dx, [*found, *behind]

    def _base_gradient(
        self, dy: torch.Tensor | Sequence[torch.Tensor | None], x: torch.Tensor
    ) -> torch.Tensor:
        if isinstance(dy, torch.Tensor):
            if self._whole is not None:
                return torch.mm(dy, self._whole)
            dy = dy.split_with_sizes(self.sizes, 1)
        pairs = [(part, w) for part, w in zip(dy, self._weights, strict=True) if part is not None]
        if not pairs:
            return torch.zeros_like(x)
        dx = torch.mm(*pairs[0])
        for part, weight in pairs[1:]:
            dx.addmm_(part, weight)
        return dx


def _joined(weights: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """One tensor over all of `weights` where they lie behind each other in memory."""
    first, offset = weights[0], weights[0].storage_offset()
    for weight in weights:
        same = weight.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        if not (same and weight.is_contiguous() and weight.storage_offset() == offset):
            return None
        offset += weight.numel()
    rows, size = sum(len(weight) for weight in weights), int(first.shape[1])
    return first.as_strided((rows, size), (size, 1))


def _joined_bias(
    weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor | None]
) -> torch.Tensor | None:
    if all(bias is None for bias in biases):
        return None
    return torch.cat(
        [
            weight.new_zeros(len(weight)) if bias is None else bias
            for weight, bias in zip(weights, biases, strict=True)
        ]
    )
