"""The PEFT tuners of both methods, and their registration."""

from __future__ import annotations

from typing import Any

from chatdoctor_hub.adapters.config import AdapterType, BottleneckConfig, ParallelConfig, SeriesConfig
from chatdoctor_hub.adapters.layers import BottleneckLayer, ParallelLayer, SeriesLayer, why_not_mergeable
from chatdoctor_hub.errors import ConfigError, MissingExtraError, ModelFormatError

try:
    from peft import mapping
    from peft.tuners.tuners_utils import BaseTuner
    from torch import nn
except ImportError:
    raise MissingExtraError("peft", "local") from None

__all__ = ["BottleneckModel", "ParallelModel", "SeriesModel", "register"]


class BottleneckModel(BaseTuner):  # type: ignore[misc] # PEFT is not typed
    """Puts bottleneck layers in the place of the targets; what both methods share."""

    tuner_layer_cls: type[BottleneckLayer]
    target_module_mapping: dict[str, Any] = {}  # noqa: RUF012 - PEFT's name; the targets depend on the placement

    def _prepare_adapter_config(
        self, peft_config: BottleneckConfig, model_config: dict[str, Any]
    ) -> BottleneckConfig:
        if peft_config.target_modules is None:
            peft_config.target_modules = peft_config.default_targets(str(model_config.get("model_type")))
        return peft_config

    def _create_and_replace(
        self,
        config: BottleneckConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        **_: Any,
    ) -> None:
        if isinstance(target, self.tuner_layer_cls):
            target.update_layer(adapter_name, config, inference_mode=config.inference_mode)
            return
        width = getattr(getattr(self.model, "config", None), "hidden_size", None)
        new: Any = self.tuner_layer_cls(target, width)
        new._active_adapter = adapter_name
        new.update_layer(adapter_name, config, inference_mode=config.inference_mode)
        if adapter_name not in self.active_adapters:
            new.requires_grad_(False)
        self._replace_module(parent, target_name, new, target)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: Any, child: Any) -> None:
        setattr(parent, child_name, new_module)
        new_module.training = child.training

    def _check_merge_allowed(self) -> None:
        """Before any weight is touched: a merge of half a model would be worse than none."""
        super()._check_merge_allowed()
        for name in self.active_adapters:
            for layer in self.model.modules():
                if isinstance(layer, BottleneckLayer) and name in layer.configs:
                    reason = why_not_mergeable(layer.configs[name], layer.get_base_layer())
                    if reason:
                        raise ModelFormatError(
                            f"Expected adapter {name!r} to be one that can be merged, found {reason}; serve it "
                            "as it is."
                        )

    def _check_new_adapter_config(self, config: BottleneckConfig) -> None:
        super()._check_new_adapter_config(config)
        kinds = {type(other) for other in self.peft_config.values()} | {type(config)}
        if len(kinds) > 1:
            names = " and ".join(sorted(kind.__name__ for kind in kinds))
            raise ConfigError(
                f"Expected adapters of one method on one model, found {names}; load two models."
            )


class SeriesModel(BottleneckModel):
    """A model with series adapters."""

    prefix = "series_"
    tuner_layer_cls = SeriesLayer


class ParallelModel(BottleneckModel):
    """A model with parallel adapters."""

    prefix = "parallel_"
    tuner_layer_cls = ParallelLayer


def register() -> None:
    """Make both methods known to PEFT, and with it to transformers; a second time changes nothing.

    `peft.utils.register_peft_method` takes only names of PEFT's own enum, so its tables are written here.
    """
    methods = (
        (AdapterType.SERIES, SeriesConfig, SeriesModel),
        (AdapterType.PARALLEL, ParallelConfig, ParallelModel),
    )
    for kind, config, model in methods:
        mapping.PEFT_TYPE_TO_CONFIG_MAPPING[kind] = config
        mapping.PEFT_TYPE_TO_TUNER_MAPPING[kind] = model
        mapping.PEFT_TYPE_TO_PREFIX_MAPPING[kind] = model.prefix
