"""The layers that stand in a model in place of the modules that are adapted."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.adapters.config import BottleneckConfig, SeriesConfig
from chatdoctor_hub.errors import ConfigError, MissingExtraError, ModelFormatError

try:
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
    from torch import nn
except ImportError:
    raise MissingExtraError("peft", "local") from None

__all__ = ["BottleneckLayer", "ParallelLayer", "SeriesLayer", "why_not_mergeable"]


class BottleneckLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc] # PEFT is not typed
    """A module with bottlenecks of any number of adapters; `_kind` and the formula are the subclass's.

    Args:
        base_layer: the module that is adapted, a linear layer or a block that maps (..., d) to (..., d).
        width: d for a block; linear layers know their own sizes.
    """

    _kind = ""

    if TYPE_CHECKING:  # PEFT is not typed, and PyTorch's own `__getattr__` would hide what it adds

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, base_layer: nn.Module, width: int | None = None) -> None:
        super().__init__()
        self.base_layer = base_layer
        for name in self.adapter_layer_names[:2]:
            setattr(self, name, nn.ModuleDict())
        setattr(self, self.adapter_layer_names[2], nn.ParameterDict())
        self.configs: dict[str, BottleneckConfig] = {}
        self.activations: dict[str, nn.Module] = {}
        self.dropouts: dict[str, nn.Module] = nn.ModuleDict()  # type: ignore[assignment] # it is a mapping, if no dict
        self.merged_adapters: list[str] = []
        self._merged: list[tuple[torch.Tensor, torch.Tensor | None]] = []
        self._disable_adapters = False
        self.in_features, self.out_features = _sizes(self.get_base_layer(), width)

    @property
    def down(self) -> Any:
        """D of each adapter, by its name: linear maps to the bottleneck."""
        return getattr(self, f"{self._kind}_down")

    @property
    def up(self) -> Any:
        """U of each adapter: linear maps from the bottleneck."""
        return getattr(self, f"{self._kind}_up")

    @property
    def learned_scale(self) -> Any:
        """The s of each adapter that learns it, a tensor of one number."""
        return getattr(self, f"{self._kind}_scale")

    @abstractmethod
    def widths(self, config: BottleneckConfig) -> tuple[int, int]:
        """Sizes of the input of D and of the output of U."""

    def update_layer(self, adapter_name: str, config: BottleneckConfig, inference_mode: bool = False) -> None:
        """Add an adapter, or put new weights in place of one of that name."""
        taken, given = self.widths(config)
        self.configs[adapter_name] = config
        self.activations[adapter_name] = _activation(config.activation)
        self.dropouts[adapter_name] = nn.Dropout(config.dropout) if config.dropout else nn.Identity()
        self.down[adapter_name] = nn.Linear(taken, config.bottleneck_size, bias=False)
        self.up[adapter_name] = nn.Linear(config.bottleneck_size, given, bias=False)
        if config.scale == "learned":
            self.learned_scale[adapter_name] = nn.Parameter(torch.ones(1))
        self.reset(adapter_name)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def reset(self, adapter_name: str) -> None:
        """Draw the weights of an adapter as its configuration says."""
        down, up = self.down[adapter_name].weight, self.up[adapter_name].weight
        if down.device.type == "meta":
            return
        nn.init.normal_(down, std=0.02)
        if self.configs[adapter_name].init == "bert":
            nn.init.normal_(up, std=0.02)
        else:
            nn.init.zeros_(up)

    def scale(self, adapter_name: str) -> Any:
        """The s of one adapter: a number, or a tensor of one."""
        if adapter_name in self.learned_scale:
            return self.learned_scale[adapter_name]
        return float(self.configs[adapter_name].scale)

    def delta(self, adapter_name: str, x: torch.Tensor) -> torch.Tensor:
        """What the bottleneck adds, s U sigma(D dropout(x)), in the dtype of x; x is (..., d)."""
        down, up = self.down[adapter_name], self.up[adapter_name]
        taken = self.dropouts[adapter_name](self._cast_input_dtype(x, down.weight.dtype))
        given: torch.Tensor = up(self.activations[adapter_name](down(taken))) * self.scale(adapter_name)
        return given.to(x.dtype)

    def forward(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the module gives with its active adapters; all but the first argument are passed on."""
        if self.disable_adapters:
            if self.merged:
                self.unmerge()
            return self.base_layer(x, *args, **kwargs)
        if self.merged:
            return self.base_layer(x, *args, **kwargs)
        return self._adapted([name for name in self.active_adapters if name in self.down], x, *args, **kwargs)

    @abstractmethod
    def _adapted(self, names: list[str], x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """What the module gives with these adapters."""

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put adapters whose sigma is the identity into the weights.

        A copy of the weights as they were is kept until `unmerge`, which puts it back to the last bit: a
        merged layer takes twice the memory of a plain one, `merge_and_unload` gives that back.

        Args:
            safe_merge: refuse weights that are not finite, before anything is changed.
            adapter_names: which; None: the active ones.

        Raises:
            ModelFormatError: where the formula has no equal linear layer, the base is quantized (in 4 or 8
                bits, where an update would be rounded away), or the weights would not be finite.
        """
        base = self.get_base_layer()
        for name in check_adapters_to_merge(self, adapter_names):
            if name not in self.down:
                continue
            if reason := why_not_mergeable(self.configs[name], base):
                raise ModelFormatError(
                    f"Expected an adapter that can be merged, found {reason}; serve it as it is."
                )
            weight, bias = self._merged_weights(name, base)
            if safe_merge and not all(
                torch.isfinite(item).all() for item in (weight, bias) if item is not None
            ):
                raise ModelFormatError(
                    f"Expected finite weights after merging adapter {name!r}, found others; train it again."
                )
            old = (base.weight.data.clone(), None if base.bias is None else base.bias.data.clone())
            self._merged.append(old)
            base.weight.data = weight.to(base.weight.dtype)
            if bias is not None:
                base.bias.data = bias.to(base.bias.dtype)
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Put the weights back that were there before, to the last bit."""
        base = self.get_base_layer()
        while self._merged:
            weight, bias = self._merged.pop()
            base.weight.data = weight.to(base.weight.device)
            if bias is not None:
                base.bias.data = bias.to(base.bias.device)
        self.merged_adapters.clear()

    def matrix(self, adapter_name: str) -> torch.Tensor:
        """The matrix s U D, the whole of a linear adapter; (output of U, input of D), at least float32."""
        down, up = (_exact(item[adapter_name].weight) for item in (self.down, self.up))
        matrix: torch.Tensor = up @ down * self.scale(adapter_name)
        return matrix

    @abstractmethod
    def _merged_weights(self, name: str, base: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Weight and bias (None: unchanged) of the linear layer that the adapted one equals."""

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter."""
        super().delete_adapter(adapter_name)
        for held in (self.configs, self.activations, self.dropouts):
            if adapter_name in held:
                del held[adapter_name]

    def __repr__(self) -> str:
        return f"{self._kind}.{super().__repr__()}"


class SeriesLayer(BottleneckLayer):
    """The formulas of `SeriesConfig`."""

    adapter_layer_names = ("series_down", "series_up", "series_scale")
    other_param_names = ("dropouts",)
    _kind = "series"

    def widths(self, config: BottleneckConfig) -> tuple[int, int]:
        """Both are the size of what goes through the bottleneck."""
        width = self.in_features if _is_on_input(config) else self.out_features
        return width, width

    def _adapted(self, names: list[str], x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        for name in names:
            if _is_on_input(self.configs[name]):
                x = x + self.delta(name, x)
        given = self.base_layer(x, *args, **kwargs)
        hidden, rest = (given[0], given[1:]) if isinstance(given, tuple) else (given, None)
        for name in names:
            if not _is_on_input(self.configs[name]):
                hidden = hidden + self.delta(name, hidden)
        return hidden if rest is None else (hidden, *rest)

    @torch.no_grad()
    def _merged_weights(self, name: str, base: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """W (I + s U D) on the input; (I + s U D) W and (I + s U D) b on the output."""
        weight = _exact(base.weight)
        matrix = self.matrix(name).to(weight.dtype)
        if _is_on_input(self.configs[name]):
            return weight + weight @ matrix, None
        bias = None if base.bias is None else _exact(base.bias) + matrix @ _exact(base.bias)
        return weight + matrix @ weight, bias


class ParallelLayer(BottleneckLayer):
    """The formula of `ParallelConfig`."""

    adapter_layer_names = ("parallel_down", "parallel_up", "parallel_scale")
    other_param_names = ("dropouts",)
    _kind = "parallel"

    def widths(self, config: BottleneckConfig) -> tuple[int, int]:
        """Those of the module."""
        return self.in_features, self.out_features

    def _adapted(self, names: list[str], x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        given = self.base_layer(x, *args, **kwargs)
        hidden, rest = (given[0], given[1:]) if isinstance(given, tuple) else (given, None)
        for name in names:
            hidden = hidden + self.delta(name, x)
        return hidden if rest is None else (hidden, *rest)

    @torch.no_grad()
    def _merged_weights(self, name: str, base: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """W + s U D."""
        weight = _exact(base.weight)
        return weight + self.matrix(name).to(weight.dtype), None


def why_not_mergeable(config: BottleneckConfig, base: nn.Module | None = None) -> str:
    """Why no linear layer equals the adapted one, or "" where one does."""
    if config.activation != "identity":
        return f"one with the activation {config.activation!r}, which no linear layer can hold"
    if base is not None and type(base) is not nn.Linear:
        return f"one at a module of type {type(base).__name__}, which is no plain linear layer"
    return ""


def _exact(weight: torch.Tensor) -> torch.Tensor:
    """In float32, or better where it is better: half precision would round every product."""
    return weight.to(torch.promote_types(weight.dtype, torch.float32))


def _is_on_input(config: BottleneckConfig) -> bool:
    return isinstance(config, SeriesConfig) and config.position == "input"


def _sizes(base: nn.Module, width: int | None) -> tuple[int, int]:
    """(in, out) of a linear layer, quantized or not, or the width of a block twice."""
    taken, given = getattr(base, "in_features", None), getattr(base, "out_features", None)
    if isinstance(taken, int) and isinstance(given, int):
        return taken, given
    if type(base).__name__ == "Conv1D":  # GPT-2's, with a transposed weight
        weight: Any = base.weight
        return int(weight.shape[0]), int(weight.shape[1])
    is_block = any(hasattr(module, "in_features") for module in base.modules())
    if width is None or not is_block:
        raise ConfigError(
            f"Expected linear layers or blocks among target_modules, found a {type(base).__name__}; name others."
        )
    return width, width


def _activation(name: str) -> nn.Module:
    if name == "identity":
        return nn.Identity()
    from transformers.activations import ACT2FN

    return ACT2FN[name]  # type: ignore[no-any-return] # transformers is not typed
