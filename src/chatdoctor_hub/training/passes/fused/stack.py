"""Branches that read the same input, beside layers whose outputs lie beside each other: one product each way."""

from __future__ import annotations

from collections.abc import Sequence

from chatdoctor_hub.errors import MissingExtraError
from chatdoctor_hub.training.passes.fused.branches import Branch, activate, activation_gradient
from chatdoctor_hub.training.passes.fused.sites import NotFusedError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["Stack"]

_FEW = 64  # ranks of all branches together


class Stack:
    """All D above each other, (R, d), and all s U on a diagonal of blocks, (O, R).

    The zeros beside the blocks cost less than the passes over memory that they save while R is small; blocks
    of many ranks are multiplied one by one.

    Args:
        branches: of each layer, or None.
        sizes: outputs of each layer, O together.

    Raises:
        NotFusedError: where branches differ in their activation.
    """

    def __init__(self, branches: Sequence[Branch | None], sizes: Sequence[int]) -> None:
        self._branches = [branch for branch in branches if branch]
        first = self._branches[0]
        if any(branch.activation != first.activation for branch in self._branches):
            raise NotFusedError("adapters of one input differ in their activation")
        self._activation = first.activation
        self._sizes = list(sizes)
        rank = sum(len(branch.down) for branch in self._branches)
        self.down = first.down.new_zeros(rank, first.down.shape[1])
        self.up = first.down.new_zeros(sum(sizes), rank)
        self._at_once = len(self._branches) == 1 or rank <= _FEW
        self._spans: list[tuple[int, slice, slice]] = []
        row, column = 0, 0
        for number, (branch, size) in enumerate(zip(branches, sizes, strict=True)):
            if branch:
                ranks, outputs = slice(row, row + len(branch.down)), slice(column, column + size)
                branch.place(self.down[ranks], self.up[outputs, ranks])
                self._spans.append((number, ranks, outputs))
                row = ranks.stop
            column += size

    def taken(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The products z = D x and a = sigma(z) of all branches, (T, R) each."""
        z = x @ self.down.T
        return z, activate(self._activation, z)

    def add_to(self, y: torch.Tensor, a: torch.Tensor) -> None:
        """Add s U a of each branch to its layer's part of y, (T, O), in place."""
        if self._at_once:
            y.addmm_(a, self.up.T)
            return
        for branch, (_, ranks, outputs) in zip(self._branches, self._spans, strict=True):
            y[:, outputs].addmm_(a[:, ranks], branch.up.T)

    def gradients(
        self,
        dy: torch.Tensor | Sequence[torch.Tensor | None],
        x: torch.Tensor,
        z: torch.Tensor,
        a: torch.Tensor,
    ) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
        """The gradient of z, (T, R), and those of the parameters of each branch; 0 where dy is None."""
        if isinstance(dy, torch.Tensor) and not self._at_once:
            dy = dy.split_with_sizes(self._sizes, 1)
        if isinstance(dy, torch.Tensor):
            da, by_up = dy @ self.up, a.T @ dy
            blocks = [by_up[ranks, outputs] for _, ranks, outputs in self._spans]
        else:
            da = torch.zeros_like(a)
            blocks = []
            for branch, (number, ranks, _) in zip(self._branches, self._spans, strict=True):
                part = dy[number]
                if part is None:
                    blocks.append(a.new_zeros(len(branch.down), len(branch.up)))
                    continue
                torch.mm(part, branch.up, out=da[:, ranks])
                blocks.append(a[:, ranks].T @ part)
        dz = activation_gradient(self._activation, da, z, a)
        by_down = dz.T @ x
        found: list[torch.Tensor | None] = []
        for branch, (_, ranks, _), block in zip(self._branches, self._spans, blocks, strict=True):
            found += branch.of_parameters(by_down[ranks], block)
        return dz, found
