"""The settings of an adapter as PEFT's, and putting it into a model."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ChatDoctorError, ConfigError
from chatdoctor_hub.models import first_line
from chatdoctor_hub.training.recipe import RecipeConfig

if TYPE_CHECKING:
    from peft import PeftConfig

__all__ = ["attach", "method_of", "trainable_of"]

_EXACT_SVD = 1024  # wider weights are decomposed by the randomised method of the PiSSA paper, in seconds
_LINEAR = ("Linear", "Conv1D", "Linear4bit", "Linear8bitLt")


def method_of(config: RecipeConfig, model: Any) -> PeftConfig:
    """What PEFT is told of the recipe's adapter, for a model of this shape.

    Args:
        config: the recipe, of an adapter (not of full tuning).
        model: the base, which may be on the meta device.

    Raises:
        ConfigError: when a target is no module of the model, or the model's family has no default targets.
    """
    from peft import LoraConfig, PrefixTuningConfig

    adapter = config.adapter
    if adapter.kind == "prefix":
        return PrefixTuningConfig(
            num_virtual_tokens=adapter.tokens,
            prefix_projection=adapter.projection_size is not None,
            encoder_hidden_size=adapter.projection_size,
            task_type="CAUSAL_LM",
        )
    if adapter.kind != "lora":
        return _bottleneck(adapter, model)
    targets: Any = adapter.targets if isinstance(adapter.targets, str) else list(adapter.targets)
    if not isinstance(targets, str):
        _check_targets(targets, model, linear=True, more=", or all-linear")
    return LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets,
        use_rslora=adapter.variant == "rslora",
        use_dora=adapter.variant == "dora",
        init_lora_weights=_start(adapter, model),
        task_type="CAUSAL_LM",
    )


def attach(model: Any, config: RecipeConfig, *, empty: bool = False) -> Any:
    """The model with a new adapter: trainable in float32, everything else frozen.

    Args:
        model: the base; changed in place.
        config: the recipe, of an adapter.
        empty: give the adapter's weights no values (on the meta device).

    Raises:
        ConfigError: when the adapter does not suit the model.
    """
    import warnings

    from peft import get_peft_model

    method: Any = method_of(config, model)
    if empty and config.adapter.kind == "lora":
        method.init_lora_weights = True  # shapes are the same, and nothing is decomposed
    try:
        with warnings.catch_warnings():
            # GPT-2's transposed layers are found out by PEFT, which says so each time.
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set")
            return get_peft_model(model, method, low_cpu_mem_usage=empty, autocast_adapter_dtype=True)
    except ChatDoctorError:
        raise
    except (ValueError, TypeError, NotImplementedError, KeyError, AttributeError, RuntimeError) as error:
        raise ConfigError(
            f"{config.base}: expected an adapter that suits the model, found that PEFT cannot put {config.adapter.summary} "
            f"into a {type(model).__name__} ({first_line(error)}); name other targets or another kind."
        ) from error


def trainable_of(model: Any) -> Iterator[Any]:
    """The parameters that are trained."""
    return (parameter for parameter in model.parameters() if parameter.requires_grad)


def _bottleneck(adapter: Any, model: Any) -> PeftConfig:
    from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig

    values: dict[str, Any] = {
        name: getattr(adapter, name)
        for name in ("bottleneck_size", "activation", "scale", "dropout", "placement", "init")
    }
    if adapter.kind == "series":
        values["position"] = adapter.position
    if adapter.targets:
        _check_targets(adapter.targets, model, linear=adapter.placement == "linear")
        values["target_modules"] = list(adapter.targets)
    made: Any = (SeriesConfig if adapter.kind == "series" else ParallelConfig)(
        **values, task_type="CAUSAL_LM"
    )
    if made.target_modules is None:
        made.target_modules = made.default_targets(str(model.config.model_type))
    return made


def _check_targets(targets: Iterable[str], model: Any, *, linear: bool, more: str = "") -> None:
    """Refuse names that match no module that can be adapted: PEFT only asks for one among them to match."""
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    linears = sorted({_last(name) for name, kind in kinds.items() if kind in _LINEAR})
    in_layers = {_last(name) for name in kinds if any(part.isdigit() for part in name.split(".")[:-1])}
    allowed = linears if linear else sorted(in_layers)
    wrong = []
    for target in targets:
        met = {kind for name, kind in kinds.items() if name == target or name.endswith(f".{target}")}
        if not met or (linear and not met & {*_LINEAR, "Embedding"}):
            wrong.append(target)
    if not wrong:
        return
    near = {name for target in wrong for name in difflib.get_close_matches(target, allowed, n=3, cutoff=0.5)}
    meant = f", did you mean {', '.join(sorted(near))}?" if near else ";"
    raise ConfigError(
        f"adapter.targets: expected names among the model's {'linear ' if linear else ''}modules "
        f"({', '.join(allowed)}), found {wrong}{meant} name some of these{more}."
    )


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _start(adapter: Any, model: Any) -> bool | str:
    if adapter.variant != "pissa":
        return True
    width = max(getattr(model.config, "hidden_size", 0), getattr(model.config, "intermediate_size", 0) or 0)
    return "pissa" if width <= _EXACT_SVD else "pissa_niter_16"
