"""Loading a model, its adapter, tokenizer and prompt pair from a folder or from the Hub."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError, ReleaseFormatError
from chatdoctor_hub.inference.engine import as_pair
from chatdoctor_hub.models import (
    first_line,
    is_adapter,
    is_release,
    load_model,
    load_tokenizer,
    locate,
    require_extra,
)
from chatdoctor_hub.models.locate import fingerprint
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from os import PathLike

    import torch

__all__ = [
    "Loaded",
    "Parts",
    "load_parts",
    "pick_device",
    "pick_dtype",
    "resolve_parts",
]

_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Parts:
    """Where the parts of a model are.

    Args:
        folder: of the model; its tokenizer is there, if anywhere.
        base: of the base model; the same as `folder` where there is no adapter.
        adapter: of the adapter, or None.
        pair: the prompt pair to serve it with.
    """

    folder: Path
    base: Path
    adapter: Path | None
    pair: PromptPair

    @property
    def fingerprint(self) -> str:
        """Changes when the files do."""
        return fingerprint(*dict.fromkeys((self.folder, self.base)))


@dataclass(frozen=True)
class Loaded:
    """A model in memory: the model object, its tokenizer and where it is."""

    model: Any
    tokenizer: Any
    parts: Parts


def resolve_parts(
    model: str | PathLike[str],
    *,
    prompt: str | PromptPair | None = None,
    revision: str | None = None,
    download: bool = True,
) -> Parts:
    """Find a model's parts without loading them; cheap for what is on this machine.

    Raises:
        ModelNotFoundError: when the model or its base is not there.
        ModelFormatError: when a folder holds no model.
        ReleaseFormatError, PromptDigestError: when a release cannot be trusted.
        UnknownPromptError: when there is no prompt of that id.
    """
    folder = locate(model, revision, download=download)
    if is_release(folder):
        return _release_parts(folder, prompt, download)
    pair = as_pair(prompt)
    if is_adapter(folder):
        return Parts(folder, locate(_adapter_base(folder), download=download), folder, pair)
    if not (folder / "config.json").is_file():
        raise ModelFormatError(
            f"{folder}: expected a release, an adapter or a model (chatdoctor.json, adapter_config.json or "
            "config.json), found none of them; check the folder."
        )
    return Parts(folder, folder, None, pair)


def _release_parts(folder: Path, prompt: str | PromptPair | None, download: bool) -> Parts:
    from chatdoctor_hub.release import base_here, load_manifest

    manifest = load_manifest(folder)
    pair = as_pair(prompt) if prompt is not None else manifest.prompt_pair
    if manifest.weights == "model":
        return Parts(folder, folder, None, pair)
    if manifest.base.path:
        base = folder / manifest.base.path
        if not base.is_dir() or not base.resolve().is_relative_to(folder.resolve()):
            raise ReleaseFormatError(
                f"{folder / 'chatdoctor.json'}: expected the base model in a folder of the release, found "
                f"{manifest.base.path!r}, which is none; fetch or make the release again."
            )
    else:
        here = base_here(folder)
        base = here or locate(manifest.base.id, manifest.base.revision or None, download=download)
    return Parts(folder, base, folder / manifest.adapter_path, pair)


def _adapter_base(folder: Path) -> str:
    config = folder / "adapter_config.json"
    try:
        base = json.loads(config.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError) as error:
        raise ModelFormatError(
            f"{config}: expected a JSON object, found none; fetch the adapter again."
        ) from error
    if not base:
        raise ModelFormatError(
            f"{config}: expected the base model's name in base_model_name_or_path, found none; add it."
        )
    return str(base)


def load_parts(parts: Parts, device: torch.device, dtype: torch.dtype) -> Loaded:
    """Load what `resolve_parts` found; safetensors only, and no code from the model's repository.

    Raises:
        ModelFormatError: when the files are not those of a causal language model with a tokenizer.
        MissingExtraError: when peft is needed and not installed.
    """
    tokenizer = load_tokenizer(parts.folder if _has_tokenizer(parts.folder) else parts.base)
    model = load_model(parts.base, dtype)
    rows = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > rows:
        raise ModelFormatError(
            f"{parts.folder}: expected a tokenizer of at most {rows} tokens, as many as the model knows, "
            f"found {len(tokenizer)}; the tokenizer belongs to another model."
        )
    if parts.adapter is not None:
        model = _with_adapter(model, parts.adapter)
    return Loaded(model.to(device).eval(), tokenizer, parts)


def _has_tokenizer(folder: Path) -> bool:
    return any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
    )


def _with_adapter(model: Any, folder: Path) -> Any:
    require_extra("peft", extra="local")
    from peft import PeftModel

    import chatdoctor_hub.adapters  # noqa: F401 - makes series and parallel adapters known to PEFT

    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise ModelFormatError(
            f"{folder}: expected {weights.name}, found none; pickled adapters are not read."
        )
    try:
        return PeftModel.from_pretrained(model, str(folder), is_trainable=False)
    except Exception as error:  # torn safetensors raise errors of their own
        raise ModelFormatError(
            f"{folder}: expected an adapter that fits the base model, found one that does not "
            f"({first_line(error)}); use the base it was made for."
        ) from error


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


def pick_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The number type asked for, or what suits the device.

    bfloat16 on CUDA (float16 where the card is too old for it) and float16 on MPS; float32 on a CPU,
    where the narrow types save memory but are slower, and answers are the same in every batch.

    Raises:
        ConfigError: for another type.
    """
    import torch

    if dtype is None:
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
