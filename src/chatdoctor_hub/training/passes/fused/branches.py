"""The low-rank part of an adapted layer, s U sigma(D x), and its gradients by hand.

LoRA (arXiv 2106.09685) is the case sigma = identity, s = alpha / r; parallel and series adapters
(arXiv 2110.04366, 1902.00751) have any sigma and s.
"""

from __future__ import annotations

from chatdoctor_hub.errors import MissingExtraError

try:
    import torch
except ImportError:
    raise MissingExtraError("torch", "local") from None

__all__ = ["ACTIVATIONS", "Branch", "activate", "activation_gradient"]

ACTIVATIONS = frozenset({"identity", "tanh", "relu", "silu", "swish", "sigmoid", "gelu", "gelu_pytorch_tanh"})
"""Names of the sigmas whose derivative is known here."""


def activate(name: str, z: torch.Tensor) -> torch.Tensor:
    """sigma(z), elementwise."""
    if name == "identity":
        return z
    if name in ("silu", "swish"):
        return torch.nn.functional.silu(z)
    if name.startswith("gelu"):
        return torch.nn.functional.gelu(z, approximate="none" if name == "gelu" else "tanh")
    made: torch.Tensor = getattr(torch, name)(z)
    return made


def activation_gradient(name: str, da: torch.Tensor, z: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """The gradient with respect to z, of a = sigma(z), whose gradient is da."""
    ops = torch.ops.aten
    if name == "identity":
        return da
    if name in ("silu", "swish"):
        made = ops.silu_backward(da, z)
    elif name.startswith("gelu"):
        made = ops.gelu_backward(da, z, approximate="none" if name == "gelu" else "tanh")
    elif name == "relu":
        made = ops.threshold_backward(da, z, 0)
    else:
        made = getattr(ops, f"{name}_backward")(da, a)
    found: torch.Tensor = made
    return found


class Branch:
    """s U sigma(D x) for x of shape (T, d), with its weights in the precision of the passes.

    Args:
        down: D, (r, d), a parameter.
        up: U, (o, r), a parameter.
        scale: s, a number or a parameter of one.
        activation: sigma, one of `ACTIVATIONS`.
        dtype: of the products.
    """

    def __init__(
        self,
        down: torch.nn.Parameter,
        up: torch.nn.Parameter,
        scale: float | torch.nn.Parameter,
        activation: str,
        dtype: torch.dtype,
    ) -> None:
        self.activation = activation
        self.masters = [down, up, *([scale] if isinstance(scale, torch.nn.Parameter) else [])]
        self._scale = scale
        self.down = torch.empty_like(down, dtype=dtype, requires_grad=False)
        self.up = torch.empty_like(up, dtype=dtype, requires_grad=False)
        self.refresh()

    def place(self, down: torch.Tensor, up: torch.Tensor) -> None:
        """Hold the weights in these tensors, parts of larger ones, from now on."""
        self.down, self.up = down, up
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the parameters' values over; U is held times s."""
        self.down.copy_(self.masters[0])
        self.up.copy_(self.masters[1] * self._scale)

    def taken(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The products z = D x and a = sigma(z), (T, r) each; the same tensor where sigma is the identity."""
        z = x @ self.down.T
        return z, activate(self.activation, z)

    def gradients(
        self, dy: torch.Tensor, x: torch.Tensor, z: torch.Tensor, a: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The gradient of z, (T, r), which times D is that of x; and those of the parameters."""
        dz = activation_gradient(self.activation, dy @ self.up, z, a)
        # r rows rather than r columns: several times faster on a CPU.
        return dz, self.of_parameters(dz.T @ x, a.T @ dy)

    def of_parameters(self, by_down: torch.Tensor, by_up: torch.Tensor) -> list[torch.Tensor]:
        """The gradients of D, U and s from that of D, (r, d), and that of s U transposed, (r, o)."""
        plain = by_up.T.to(self.masters[1].dtype)
        if not isinstance(self._scale, torch.nn.Parameter):
            return [by_down, plain * self._scale]
        by_scale = (plain * self.masters[1].detach()).sum().reshape(self._scale.shape)
        return [by_down, plain * self._scale.detach(), by_scale]
