"""Root mean square normalisation (arXiv 1910.07467) and its gradient, in few passes over memory."""

from __future__ import annotations

from chatdoctor_hub.errors import MissingExtraError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["norm_backward", "norm_forward"]


def norm_forward(x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The product y = w x / rms(x) for x of shape (T, d), in the dtype of x; and 1 / rms(x), (T, 1), float32."""
    wide = x.float()
    size = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    inverse = (size.square_().div_(x.shape[-1])).add_(epsilon).rsqrt_()
    y = wide * inverse if wide is x else wide.mul_(inverse)
    return y.mul_(weight).to(x.dtype), inverse


def norm_backward(
    dy: torch.Tensor, x: torch.Tensor, inverse: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    """The gradient of x, float32; w is frozen."""
    g = dy.float()
    g = g * weight if g is dy else g.mul_(weight)
    scaled = x.float()
    scaled = scaled * inverse if scaled is x else scaled.mul_(inverse)
    share = torch.linalg.vecdot(g, scaled).div_(-x.shape[-1]).unsqueeze_(-1)
    return g.addcmul_(scaled, share).mul_(inverse)
