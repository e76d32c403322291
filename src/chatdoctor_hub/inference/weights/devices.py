"""Which device and number type a model goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chatdoctor_hub.errors import ConfigError

if TYPE_CHECKING:
    import torch

__all__ = ["pick_device", "pick_dtype"]

_DTYPES = ("float32", "bfloat16", "float16")


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or the best there is: CUDA, then Apple's MPS, then the CPU.

    Raises:
        ConfigError: for a device this machine does not have.
    """
    import torch

    if device is None:
        if torch.cuda.is_available():
            return torch.device("cuda", torch.cuda.current_device())
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
        torch.empty(0, device=picked)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"Expected a device this machine has, found {str(device)!r}; leave it out to have one chosen."
        ) from error
    return picked


def pick_dtype(
    dtype: str | torch.dtype | None, device: torch.device, quantization: str | None = None
) -> torch.dtype:
    """The number type asked for, or what suits the device.

    For a quantized model, the type of what is not quantized: float16 with "8bit", which multiplies in it, and
    bfloat16 with "4bit". Else bfloat16 on CUDA (float16 where the card is too old for it) and float16 on
    MPS; float32 on a CPU, where the narrow types save memory but are slower, and answers are the same in
    every batch.

    Raises:
        ConfigError: for another type.
    """
    import torch

    if dtype is None:
        if quantization == "8bit":
            return torch.float16
        if quantization is not None and device.type != "cuda":
            return torch.bfloat16
        if device.type == "cuda":
            return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return torch.float16 if device.type == "mps" else torch.float32
    name = str(dtype).removeprefix("torch.")
    if name not in _DTYPES:
        raise ConfigError(
            f"Expected dtype to be one of {', '.join(_DTYPES)}, found {name!r}; choose one of these."
        )
    picked: torch.dtype = getattr(torch, name)
    return picked
