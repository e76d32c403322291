"""`Manifest`: the record that travels with a release, `chatdoctor.json`, and its checks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatdoctor_hub.errors import PromptDigestError, ReleaseFormatError, ReleaseNotFoundError
from chatdoctor_hub.prompts import PromptPair, baked_digest

__all__ = [
    "MANIFEST",
    "SERVING_TEMPLATE",
    "TRAINING_TEMPLATE",
    "BaseModelRecord",
    "Manifest",
    "load_manifest",
    "sha256_of",
]

MANIFEST = "chatdoctor.json"
SERVING_TEMPLATE = "chat_template.jinja"
TRAINING_TEMPLATE = "additional_chat_templates/training.jinja"
SCHEMA_VERSION = 1


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Version(BaseModel):
    schema_version: int


class BaseModelRecord(_Record):
    """The base model: `path` is its folder inside the release, or "" where it is fetched by `id`."""

    id: str = Field(description="on the Hub; './NAME' of a base that is a folder of one machine")
    path: str = ""
    revision: str = Field("", description="commit of a base from the Hub, where it is known")
    licence: str = Field("", description="as it was stated; '' where nobody did")
    digest: str = Field(description="sha256 over its config, tokenizer and weights")
    parameters: int
    model_type: str


class Manifest(_Record):
    """Everything a release says of itself."""

    schema_version: int = SCHEMA_VERSION
    name: str
    weights: Literal["adapter", "model"] = Field(
        "adapter", description="what the release holds: an adapter of the base, or a whole model"
    )
    license: str = Field(description="SPDX-like id as the Hub uses it")
    license_name: str = Field("", description="of terms of one's own, where license is 'other'")
    license_link: str = ""
    licence_faults: tuple[str, ...] = Field(
        (), description="what was unknown or in conflict and accepted, in sentences for the card"
    )
    contact: str = ""
    created: str = Field(description="when the run ended; UTC, ISO 8601")
    base: BaseModelRecord
    prompt: dict[str, Any] = Field(description="the prompt pair with the sha256 of both forms")
    recipe: dict[str, Any] = Field(description="the resolved recipe of the tuning run")
    seed: int
    corpus: dict[str, Any] = Field(description="source, digest and counts of the dialogues")
    training: dict[str, Any] = Field(
        description="steps, tokens, seconds, trained parameters, device, precision"
    )
    metrics: dict[str, Any] = Field(description="measurements, each with its n")
    versions: dict[str, str]
    export: dict[str, Any] = Field(
        {},
        description="'as' merged or lora where the weights are not those of the run, and how it was verified",
    )
    files: dict[str, str] = Field(description="sha256 of every other file of the release but the card")

    @property
    def adapter_path(self) -> str:
        """The folder of the adapter inside the release: beside a base that is in it too, else "" for its root.

        At the root it would be taken for an adapter of everything else: transformers reads the
        `adapter_config.json` that stands there whichever subfolder it is asked for.
        """
        return "adapter" if self.base.path else ""

    @property
    def prompt_pair(self) -> PromptPair:
        """The prompt pair, checked against its digests.

        Raises:
            PromptDigestError: when a text does not have the digest that was recorded for it.
        """
        return PromptPair.from_record(self.prompt, MANIFEST)


def load_manifest(folder: str | Path) -> Manifest:
    """Read and check the manifest of a release folder.

    The prompt pair is checked against its digests, the files against theirs, and the chat template
    against the pair: it must carry the serving form, and the training template must not.

    Raises:
        ReleaseNotFoundError: when the folder is no release.
        ReleaseFormatError: when the manifest cannot be read or has another schema, or a file is missing or
            was changed.
        PromptDigestError: when prompt or template were changed after the release was made.
    """
    folder = Path(folder)
    file = folder / MANIFEST
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise ReleaseNotFoundError(
            f"{folder}: expected a release folder with {MANIFEST}, found none; give the folder that "
            "`chatdoctor release` or `chatdoctor quickstart` wrote."
        ) from error
    except UnicodeDecodeError as error:
        raise ReleaseFormatError(
            f"{file}: expected UTF-8, found other bytes; fetch the release again."
        ) from error
    manifest = _parse(text, file)
    _check_files(folder, manifest)
    _check_templates(folder, PromptPair.from_record(manifest.prompt, str(file)), manifest)
    return manifest


def _parse(text: str, file: Path) -> Manifest:
    try:
        # Before anything else: another schema may have other fields.
        version = _Version.model_validate_json(text).schema_version
        if version != SCHEMA_VERSION:
            raise ReleaseFormatError(
                f"{file}: expected schema version {SCHEMA_VERSION}, found {version}; "
                + ("update chatdoctor-hub." if version > SCHEMA_VERSION else "make the release again.")
            )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the file"
        raise ReleaseFormatError(
            f"{file}: expected a release manifest of schema {SCHEMA_VERSION}, found a fault in {where} "
            f"({fault['msg'].lower()}); make or fetch the release again."
        ) from error


def _check_files(folder: Path, manifest: Manifest) -> None:
    """Pictures and recipe may be left behind; what a model is loaded from may not.

    A base inside may be large, so only its presence is looked at.
    """
    for name in sorted(name for name in manifest.files if name.endswith((".json", ".safetensors", ".jinja"))):
        file = folder / name
        if not file.is_file():
            raise ReleaseFormatError(
                f"{file}: expected every file that {MANIFEST} names, found this one missing; make or fetch the "
                "release again."
            )
        is_checked_elsewhere = name in (SERVING_TEMPLATE, TRAINING_TEMPLATE) or name.startswith(
            f"{manifest.base.path or '.'}/"
        )
        if not is_checked_elsewhere and (found := sha256_of(file)) != manifest.files[name]:
            raise ReleaseFormatError(
                f"{file}: expected sha256 {manifest.files[name][:12]}… as {MANIFEST} says, found {found[:12]}…; it "
                "was damaged or changed: make or fetch the release again."
            )


def sha256_of(file: Path) -> str:
    """sha256 (hex) of a file's content, read in parts."""
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _check_templates(folder: Path, pair: PromptPair, manifest: Manifest) -> None:
    for name in (SERVING_TEMPLATE, TRAINING_TEMPLATE):
        file = folder / name
        try:
            found = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ReleaseFormatError(
                f"{file}: expected a chat template, found none that can be read; make or fetch the release again."
            ) from error
        recorded = manifest.files.get(name, "")
        made = hashlib.sha256(found.encode()).hexdigest()
        if made != recorded:
            raise PromptDigestError(
                f"{file}: expected the template with sha256 {recorded[:12]}…, found {made[:12]}…; it was changed "
                "after the release was made: fetch or make the release again."
            )
        carried = baked_digest(found)
        if (carried == pair.serving_sha256) != (name == SERVING_TEMPLATE):
            raise PromptDigestError(
                f"{file}: expected {'the' if name == SERVING_TEMPLATE else 'no'} safety prompt of {pair.id} in "
                "it, found otherwise; fetch or make the release again."
            )
