"""Where the parts of a model are."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ModelFormatError, ReleaseFormatError
from chatdoctor_hub.inference.engine import as_pair
from chatdoctor_hub.models import is_adapter, is_release, locate
from chatdoctor_hub.models.locate import fingerprint
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from os import PathLike

    from chatdoctor_hub.release import Manifest

__all__ = ["Parts", "adapter_config", "resolve_parts"]


@dataclass(frozen=True)
class Parts:
    """Where the parts of a model are.

    Args:
        folder: of the model; its tokenizer is there, if anywhere.
        base: of the base model; the same as `folder` where there is no adapter.
        adapter: of the adapter, or None.
        pair: the prompt pair to serve it with.
        base_name: what the base is called.
        base_digest: the base's digest, where a release has recorded it.
        own_pair: whether the pair came with the model.
    """

    folder: Path
    base: Path
    adapter: Path | None
    pair: PromptPair
    base_name: str = ""
    base_digest: str = ""
    own_pair: bool = False

    @property
    def fingerprint(self) -> str:
        """Changes when the files do."""
        return fingerprint(*dict.fromkeys((self.folder, self.base)))


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
        return _release_parts(folder, prompt, download, str(model))
    pair = as_pair(prompt)
    if is_adapter(folder):
        name, at = _adapter_base(folder)
        return Parts(folder, locate(name, at, download=download), folder, pair, name)
    if not (folder / "config.json").is_file():
        raise ModelFormatError(
            f"{folder}: expected a release, an adapter or a model (chatdoctor.json, adapter_config.json or "
            "config.json), found none of them; check the folder."
        )
    return Parts(folder, folder, None, pair, str(model))


def _release_parts(folder: Path, prompt: str | PromptPair | None, download: bool, name: str) -> Parts:
    from chatdoctor_hub.release import load_manifest

    manifest = load_manifest(folder)
    pair = as_pair(prompt) if prompt is not None else manifest.prompt_pair
    if manifest.weights == "model":
        return Parts(folder, folder, None, pair, name, own_pair=True)
    return Parts(
        folder,
        _release_base(folder, manifest, download),
        folder / manifest.adapter_path,
        pair,
        manifest.base.id,
        manifest.base.digest,
        own_pair=True,
    )


def _release_base(folder: Path, manifest: Manifest, download: bool) -> Path:
    from chatdoctor_hub.release import base_here

    if manifest.base.path:
        base = folder / manifest.base.path
        if not base.is_dir() or not base.resolve().is_relative_to(folder.resolve()):
            raise ReleaseFormatError(
                f"{folder / 'chatdoctor.json'}: expected the base model in a folder of the release, found "
                f"{manifest.base.path!r}, which is none; fetch or make the release again."
            )
        return base
    return base_here(folder) or locate(manifest.base.id, manifest.base.revision or None, download=download)


def _adapter_base(folder: Path) -> tuple[str, str | None]:
    config = adapter_config(folder)
    base = config.get("base_model_name_or_path")
    if not base:
        raise ModelFormatError(
            f"{folder / 'adapter_config.json'}: expected the base model's name in base_model_name_or_path, found "
            "none; add it."
        )
    return str(base), str(config["revision"]) if config.get("revision") else None


def adapter_config(folder: Path) -> dict[str, Any]:
    """What PEFT has written about an adapter.

    Raises:
        ModelFormatError: when it cannot be read.
    """
    file = folder / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelFormatError(
            f"{file}: expected a JSON object, found none; fetch the adapter again."
        ) from error
    if not isinstance(config, dict):
        raise ModelFormatError(f"{file}: expected a JSON object, found none; fetch the adapter again.")
    return config
