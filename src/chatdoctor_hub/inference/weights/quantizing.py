"""Whether a base can be had in 4 or 8 bits here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.inference.types import Quantization
from chatdoctor_hub.models import require_extra

if TYPE_CHECKING:
    import torch

__all__ = ["check_plain", "check_quantization"]

_EXTRA = "quantized"
_DEVICES = ("cuda", "cpu", "xpu", "hpu")


def check_quantization(quantization: str | None, device: torch.device) -> None:
    """Refuse what bitsandbytes cannot do here, before anything is loaded.

    Raises:
        ConfigError: for another kind, or on a device that bitsandbytes does not know.
        MissingExtraError: without bitsandbytes.
    """
    if quantization is None:
        return
    if quantization not in get_args(Quantization):
        raise ConfigError(
            f"Expected quantization to be one of {', '.join(get_args(Quantization))} or None, found "
            f"{quantization!r}; choose one of these."
        )
    if device.type not in _DEVICES:
        raise ConfigError(
            f"Expected a device that bitsandbytes quantizes on ({', '.join(_DEVICES)}) for quantization="
            f"{quantization!r}, found {device.type!r}; leave quantization out, or use another device."
        )
    require_extra("accelerate", extra="local")
    require_extra("bitsandbytes", extra=_EXTRA)


def check_plain(folder: Path, quantization: str) -> None:
    """Refuse a base that is quantized already.

    Raises:
        ModelFormatError: when its config says so.
    """
    from transformers import AutoConfig

    try:
        kept = getattr(AutoConfig.from_pretrained(folder, local_files_only=True), "quantization_config", None)
    except (OSError, ValueError):
        return  # said in better words when the model is loaded
    if kept is not None:
        raise ModelFormatError(
            f"{folder}: expected weights that are not quantized yet for quantization={quantization!r}, found that "
            "they are; leave quantization out."
        )
