"""The head and the loss of labelled positions in chunks, with the gradient made on the way forward."""

from __future__ import annotations

from typing import Any

from chatdoctor_hub.errors import MissingExtraError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["head_loss"]

_ROWS = 256
# A share below this has lost digits, or is 0: its logarithm is taken from the logits instead.
_SMALL = 1e-30


class _HeadLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        total = hidden.new_zeros((), dtype=torch.float32)
        dhidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        # Two buffers for all chunks: fresh ones would push each other out of the cache.
        rows = min(_ROWS, len(hidden))
        given = hidden.new_empty(rows, len(weight))
        wide = given if given.dtype == torch.float32 else given.new_empty(given.shape, dtype=torch.float32)
        for start in range(0, len(hidden), _ROWS):
            part, wanted = hidden[start : start + _ROWS], targets[start : start + _ROWS]
            filler = wanted < 0
            column = wanted.clamp(min=0).unsqueeze(1)
            made = torch.mm(part, weight.T, out=given[: len(part)])
            logits = wide[: len(part)].copy_(made)
            chosen_logits = logits.gather(1, column)
            # In place, row by row, is how a CPU works; a GPU gives no such promise.
            shares = torch.softmax(logits, 1, out=logits if logits.device.type == "cpu" else None)
            chosen = shares.gather(1, column)
            lost = chosen.log().neg_()
            if bool((chosen < _SMALL).any()):
                again = part @ weight.T
                lost = torch.logsumexp(again.float(), 1, keepdim=True) - chosen_logits
            total += lost.masked_fill_(filler.unsqueeze(1), 0.0).sum()
            if dhidden is not None:
                shares.scatter_(1, column, chosen - 1.0)
                made.copy_(shares)
                gradient = torch.mm(made, weight, out=dhidden[start : start + _ROWS])
                if bool(filler.any()):
                    gradient.masked_fill_(filler.unsqueeze(1), 0.0)
        ctx.save_for_backward(dhidden)
        return total

    @staticmethod
    def backward(ctx: Any, scale: torch.Tensor) -> Any:
        (dhidden,) = ctx.saved_tensors
        return dhidden * scale.to(dhidden.dtype), None, None


def head_loss(hidden: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Summed negative log-likelihood, nats, float32.

    Args:
        hidden: (n, d), what the head gets.
        weight: (vocabulary, d), frozen.
        targets: (n,), -100 for what is not learned.
    """
    given: torch.Tensor = _HeadLoss.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return given
