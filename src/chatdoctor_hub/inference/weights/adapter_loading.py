"""Putting an adapter of peft on a base whose weights others use too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ChatDoctorError, ModelFormatError
from chatdoctor_hub.inference.weights.adapted import AdaptedModel
from chatdoctor_hub.inference.weights.sharing import twin_of
from chatdoctor_hub.models import first_line, require_extra

__all__ = ["load_adapter"]

_WEIGHTS = "adapter_model.safetensors"
_INNER = "base_model.model."


def load_adapter(base: Any, folder: Path) -> AdaptedModel:
    """The base with an adapter; the base itself stays as it is, and its weights are not copied.

    Args:
        base: a causal language model without adapters, on its device.
        folder: of the adapter: LoRA and its kin, series, parallel, prefix tuning.

    Raises:
        ModelFormatError: when the adapter cannot be read, or does not fit the base to the last tensor.
        MissingExtraError: without peft.
    """
    require_extra("peft", extra="local")
    import torch
    from peft import PeftModel

    import chatdoctor_hub.adapters  # noqa: F401 - makes series and parallel adapters known to PEFT

    if not (folder / _WEIGHTS).is_file():
        raise ModelFormatError(f"{folder}: expected {_WEIGHTS}, found none; pickled adapters are not read.")
    try:
        stored = _shapes(folder / _WEIGHTS)
        inner = {name.removeprefix(_INNER) for name in stored}
        own = inner & {name for name, _ in base.named_parameters(remove_duplicate=False)}
        twin = twin_of(base, own)
        with torch.random.fork_rng(devices=[]):  # PEFT draws weights before it reads them
            model = PeftModel.from_pretrained(twin, str(folder), is_trainable=False)
        adapted = AdaptedModel.of(model, str(folder))
    except ChatDoctorError:
        raise
    except Exception as error:  # torn safetensors raise errors of their own
        raise _misfit(folder, first_line(error)) from error
    _check_whole(model, folder, stored, {name for name in stored if name.removeprefix(_INNER) in own})
    return adapted


def _shapes(file: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    with safe_open(file, framework="pt") as opened:
        return {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118


def _check_whole(model: Any, folder: Path, stored: dict[str, tuple[int, ...]], of_base: set[str]) -> None:
    """PEFT passes over tensors that have no place in the model, and leaves places empty that have no tensor."""
    from peft import get_peft_model_state_dict

    wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
    adapter = {name: shape for name, shape in stored.items() if name not in of_base or name in wanted}
    odd = sorted(wanted.keys() ^ adapter.keys())
    if odd:
        where = "no place in the base for it" if odd[0] in adapter else "it missing from the file"
        raise _misfit(folder, f"{len(odd)} tensors, {odd[0]} among them, with {where}")


def _misfit(folder: Path, why: str) -> ModelFormatError:
    return ModelFormatError(
        f"{folder}: expected an adapter that fits the base model, found one that does not ({why}); use the base it "
        "was made for."
    )
