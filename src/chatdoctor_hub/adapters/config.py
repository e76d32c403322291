"""`SeriesConfig` and `ParallelConfig`: what PEFT is told of a bottleneck adapter."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Any

from chatdoctor_hub.adapters.families import targets_of
from chatdoctor_hub.errors import ConfigError, MissingExtraError

try:
    from peft import PeftConfig
except ImportError:
    raise MissingExtraError("peft", "local") from None

__all__ = ["AdapterType", "BottleneckConfig", "ParallelConfig", "SeriesConfig"]


class AdapterType(str, enum.Enum):
    """The names under which PEFT knows the methods; its own enum is closed to others."""

    SERIES = "SERIES"
    PARALLEL = "PARALLEL"

    def __str__(self) -> str:
        return self.value


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc] # PEFT is not typed
    """What series and parallel adapters have in common.

    With D of shape (r, d), U of shape (d', r), neither with a bias: delta(x) = s U sigma(D dropout(x))
    (Houlsby et al., arXiv 1902.00751, figure 2; He et al., arXiv 2110.04366, table 1).

    Args:
        bottleneck_size: r.
        activation: sigma, by its name in transformers ("relu", "gelu", "silu" ...), or "identity".
        scale: s, a number, or "learned" for one trained scalar a module, from 1.
        dropout: share of the inputs of D that is dropped while training.
        placement: "block", as in the papers: once after (or beside) the attention or the feed-forward block;
            "linear", as in the code of LLM-Adapters (arXiv 2304.01933): at every linear layer that is named.
        init: "identity": U starts at 0, so that the model is unchanged at step 0; "bert": both matrices are
            drawn from N(0, 0.02), as in the code of LLM-Adapters.
        target_modules: names of modules, or a regular expression; None takes those of the model's family.
        exclude_modules: names, or a regular expression, of modules that are passed over.
        layers_to_transform: numbers of the layers that get an adapter; None: all.
        layers_pattern: what the list of layers is called where it has no usual name.
        modules_to_save: further modules that are trained whole and saved with the adapter.

    Raises:
        ConfigError: naming every value that cannot be.
    """

    bottleneck_size: int = 256
    activation: str = "tanh"
    scale: float | str = 1.0
    dropout: float = 0.0
    placement: str = "block"
    init: str = "identity"
    target_modules: list[str] | set[str] | str | None = None
    exclude_modules: list[str] | set[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if faults := list(self._faults()):
            raise ConfigError(f"Expected a valid {type(self).__name__}, found: {'; '.join(faults)}.")
        for name in ("target_modules", "exclude_modules"):
            value = getattr(self, name)
            if isinstance(value, (list, tuple)):
                setattr(self, name, set(value))

    def default_targets(self, model_type: str) -> set[str]:
        """The modules of a model family that get an adapter.

        Raises:
            ConfigError: for a family that has no default.
        """
        return targets_of(self._kind(), model_type)

    def _kind(self) -> str:
        return f"parallel {self.placement}"

    def _faults(self) -> list[str]:
        found = []
        if not _is_whole(self.bottleneck_size) or self.bottleneck_size < 1:
            found.append(
                f"bottleneck_size {self.bottleneck_size!r} where a whole number of at least 1 is allowed"
            )
        if self.scale != "learned" and not (_is_number(self.scale) and math.isfinite(float(self.scale))):
            found.append(f"scale {self.scale!r} where a finite number or 'learned' is allowed")
        if not (_is_number(self.dropout) and 0 <= self.dropout < 1):
            found.append(f"dropout {self.dropout!r} where 0 up to, not including, 1 is allowed")
        for name, allowed in self._choices().items():
            if getattr(self, name) not in allowed:
                found.append(f"{name} {getattr(self, name)!r} where {' or '.join(allowed)} is allowed")
        if not _is_activation(self.activation):
            found.append(
                f"activation {self.activation!r} where 'identity' or a name that transformers knows is"
            )
        return found

    def _choices(self) -> dict[str, tuple[str, ...]]:
        return {"placement": ("block", "linear"), "init": ("identity", "bert")}


@dataclass
class SeriesConfig(BottleneckConfig):
    """A series adapter: what a module takes or gives goes through a bottleneck with a residual connection.

    position "output": h = W x + b, y = h + s U sigma(D h)   (Houlsby et al., arXiv 1902.00751)
    position "input":  y = W (x + s U sigma(D x)) + b         (code of LLM-Adapters, arXiv 2304.01933)

    Placement "block" puts it behind the last linear layer of the attention and of the feed-forward block;
    for one behind the feed-forward block only (Pfeiffer et al., arXiv 2005.00052) name that layer in
    `target_modules`.

    Args:
        position: "output" or "input"; None takes "output" for blocks and "input" for linear layers.
    """

    position: str | None = None
    peft_type: Any = field(default=AdapterType.SERIES, init=True)

    def __post_init__(self) -> None:
        self.peft_type = AdapterType.SERIES
        if self.position is None:
            self.position = "output" if self.placement == "block" else "input"
        super().__post_init__()

    def _kind(self) -> str:
        return f"series {self.placement}"

    def _choices(self) -> dict[str, tuple[str, ...]]:
        return {**super()._choices(), "position": ("output", "input")}


@dataclass
class ParallelConfig(BottleneckConfig):
    """A parallel adapter: y = f(x) + s U sigma(D x), with f a linear layer or a whole feed-forward block.

    He et al. (arXiv 2110.04366) put it beside the feed-forward block with ReLU, s = 4 and U = 0 at the start;
    the code of LLM-Adapters (arXiv 2304.01933) beside linear layers with tanh and s = 1. With sigma the
    identity and placement "linear" it is exactly a LoRA, see `export_lora`.
    """

    peft_type: Any = field(default=AdapterType.PARALLEL, init=True)

    def __post_init__(self) -> None:
        self.peft_type = AdapterType.PARALLEL
        super().__post_init__()


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_activation(name: Any) -> bool:
    if name == "identity":
        return True
    from transformers.activations import ACT2FN

    return isinstance(name, str) and name in ACT2FN
