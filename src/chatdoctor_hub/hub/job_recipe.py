"""What a recipe must be to run elsewhere: without this machine's files, and with the packages that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from chatdoctor_hub import __version__
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = ["check_portable", "packages_for"]

_NAME = r"[A-Za-z0-9_][\w.-]{0,95}"
_MODEL = re.compile(rf"(?:{_NAME}/)?{_NAME}")  # as models.locate takes them
_DATA = re.compile(rf"{_NAME}/{_NAME}")  # as the sources of dialogues do
_ENDINGS = (".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet", ".gz", ".zst", ".yaml", ".yml")


def check_portable(config: RecipeConfig) -> None:
    """Refuse a recipe that names files of this machine, which a job elsewhere does not have.

    Raises:
        ConfigError: naming every such field.
    """
    faults = [f"{field}: {value!r}" for field, value in _local(config)]
    if faults:
        raise ConfigError(
            "Expected a recipe whose base and data are on the Hub, since a job has no files of this machine, found "
            f"{'; '.join(faults)}; publish them (chatdoctor publish FOLDER me/NAME), and give their ids.",
            faults,
        )


def packages_for(config: RecipeConfig, package: str = "") -> list[str]:
    """What a job installs: this library as it is here, and what the recipe's own settings need.

    Args:
        config: the recipe.
        package: how pip finds this library; by default its release of this version.
    """
    found = [package or f"chatdoctor-hub[train]=={__version__}"]
    found += sorted(config.training.loggers)
    if config.training.quantization != "none":
        found.append("bitsandbytes")
    return found


def _local(config: RecipeConfig) -> Iterator[tuple[str, str]]:
    """Fields and values of what is here, or can be nowhere else."""
    models = {"base": config.base}
    if config.safe_lora:
        models["safe_lora.unaligned"] = config.safe_lora.unaligned
        models["safe_lora.aligned"] = config.safe_lora.aligned or config.base
    data = {f"data.{number}.path": source.path for number, source in enumerate(config.data)}
    if config.validation:
        data["validation.path"] = config.validation.path
    if config.safety_mix and config.safety_mix.data:
        data["safety_mix.data"] = config.safety_mix.data
    for field, value in models.items():
        if not _MODEL.fullmatch(value) or _is_here(value):
            yield field, value
    for field, value in data.items():
        if not _DATA.fullmatch(value) or value.lower().endswith(_ENDINGS) or _is_here(value):
            yield field, value
    # A pair is a name of the catalogue, or two of them ("A -> B"); only files have an ending.
    if any(part.strip().lower().endswith((".yaml", ".yml")) for part in config.prompt.split("->")):
        yield "prompt", config.prompt


def _is_here(value: str) -> bool:
    """Whether this machine would take it for a file or folder of its own."""
    try:
        return Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        return False
