"""`plan_models`: what an engine is to load: a model, adapters for its base, and one prompt pair for all of them."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError, ModelFormatError
from chatdoctor_hub.inference.weights.bases import BaseClaim, commit_of
from chatdoctor_hub.inference.weights.parts import Parts, adapter_config, resolve_parts
from chatdoctor_hub.models import is_adapter, is_release, locate
from chatdoctor_hub.models.locate import fingerprint
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["AdapterPlace", "ModelPlan", "plan_models"]

_AT_REVISION = re.compile(r"([^@]+)@([^@/\\]+)")


@dataclass(frozen=True)
class AdapterPlace:
    """Where an adapter is that was given by name.

    Args:
        name: what requests call it.
        folder: of the release, or of the adapter itself.
        weights: the folder with its weights; the same, or inside.
        claim: what it says of its base.
        pair: the prompt pair of its release; None for an adapter that is no release.
    """

    name: str
    folder: Path
    weights: Path
    claim: BaseClaim
    pair: PromptPair | None = None


@dataclass(frozen=True)
class ModelPlan:
    """What an engine is to load; nothing is loaded yet.

    Args:
        name: what the engine is called: the model as it was named.
        parts: of the model itself.
        adapters: those that were given by name, for the same base.
        pair: the prompt pair that all are served with.
    """

    name: str
    parts: Parts
    adapters: tuple[AdapterPlace, ...]
    pair: PromptPair

    @property
    def revision(self) -> str | None:
        """The commit of a model from the Hub."""
        return commit_of(self.parts.folder)

    def fingerprint(self, quantization: str | None = None) -> str:
        """Changes when any of the files does, or what they are called, or how they are quantized."""
        if not self.adapters and quantization is None:
            return self.parts.fingerprint
        adapters = [[place.name, fingerprint(place.folder)] for place in self.adapters]
        said = json.dumps([self.parts.fingerprint, adapters, quantization])
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()


def plan_models(
    model: str | PathLike[str],
    adapters: Mapping[str, str | PathLike[str]] | None = None,
    *,
    prompt: str | PromptPair | None = None,
    revision: str | None = None,
    download: bool = True,
) -> ModelPlan:
    """Find a model and adapters for its base, without loading them; cheap for what is on this machine.

    All of them are served with one prompt pair: `prompt`, else the one that came with the releases among
    them, else the default. Releases tuned under different pairs cannot be served by one engine unless
    `prompt` decides, for the text of a prompt must not depend on which adapter happens to be asked for.

    Args:
        model: a folder or Hub id of a base, an adapter or a release.
        adapters: adapters by name: folders or Hub ids, the latter with "@" and a revision if wanted.
        prompt: a pair or its id.
        revision: branch, tag or commit of a Hub id in `model`.
        download: False looks on this machine only.

    Raises:
        ConfigError: for a name that cannot be, or releases with different pairs.
        ModelNotFoundError: when something is not there.
        ModelFormatError: when a folder holds no model, or no adapter where one was named.
        ReleaseFormatError, PromptDigestError: when a release cannot be trusted.
        UnknownPromptError: when there is no prompt of that id.
    """
    parts = resolve_parts(model, prompt=prompt, revision=revision, download=download)
    _check_names(adapters or {}, str(model), parts.base_name)
    places = tuple(_place(name, source, download) for name, source in (adapters or {}).items())
    pair = parts.pair if prompt is not None else _common_pair(str(model), parts, places)
    return ModelPlan(str(model), parts, places, pair)


def _check_names(adapters: Mapping[str, Any], *taken: str) -> None:
    for name in adapters:
        if not isinstance(name, str):
            meaning = "is no text"
        elif not name:
            meaning = "stands for the base without an adapter"
        elif name in taken:
            meaning = "stands for the model itself"
        else:
            continue
        raise ConfigError(
            f"Expected adapters to have names of their own, found {name!r}, which {meaning}; give another name."
        )


def _common_pair(name: str, parts: Parts, places: tuple[AdapterPlace, ...]) -> PromptPair:
    found = {name: parts.pair} if parts.own_pair else {}
    found.update({place.name: place.pair for place in places if place.pair is not None})
    pairs = {pair.sha256: pair for pair in found.values()}
    if len(pairs) > 1:
        listed = ", ".join(f"{pair.id} ({pair.sha256[:8]}) of {owner!r}" for owner, pair in found.items())
        raise ConfigError(
            f"{name}: expected releases of one prompt pair, since an engine has one, found {listed}; give prompt= to "
            "serve all of them with one, or make an engine for each."
        )
    return next(iter(pairs.values()), parts.pair)


def _place(name: str, source: str | PathLike[str], download: bool) -> AdapterPlace:
    at = _AT_REVISION.fullmatch(str(source))
    is_pinned = at is not None and not Path(source).expanduser().exists()
    folder = locate(*(at.groups() if at is not None and is_pinned else (source, None)), download=download)
    if is_release(folder):
        from chatdoctor_hub.release import load_manifest

        manifest = load_manifest(folder)
        if manifest.weights == "adapter":
            base = manifest.base
            inside = folder / base.path if base.path else None
            claim = BaseClaim(base.id, base.revision, base.digest, inside)
            return AdapterPlace(name, folder, folder / manifest.adapter_path, claim, manifest.prompt_pair)
    elif is_adapter(folder):
        config = adapter_config(folder)
        claim = BaseClaim(str(config.get("base_model_name_or_path") or ""), str(config.get("revision") or ""))
        return AdapterPlace(name, folder, folder, claim)
    raise ModelFormatError(
        f"{folder}: expected an adapter for {name!r}, found a whole model or none; make an engine of its own for it."
    )
