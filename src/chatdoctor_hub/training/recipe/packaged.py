"""The recipes that come with the package: YAML files, each with its source and what it does otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.recipe.adapters import LoraAdapter, adapter_of
from chatdoctor_hub.training.recipe.faults import near, shown
from chatdoctor_hub.training.recipe.reading import read_settings

__all__ = ["RecipeSummary", "recipe_text", "recipes", "settings_of"]

_FOLDER = resources.files("chatdoctor_hub.training.recipe").joinpath("data")


@dataclass(frozen=True)
class RecipeSummary:
    """A packaged recipe in a line of a table.

    Args:
        name: for `RecipeConfig.load`.
        title: what it is for.
        source: what it reproduces, and where that is described.
        adapter: in a few words.
        prompt: id of the prompt pair.
    """

    name: str
    title: str
    source: str
    adapter: str
    prompt: str


def recipes() -> tuple[RecipeSummary, ...]:
    """The packaged recipes, `default` first, the others by name."""
    found = []
    for name in _names():
        values = read_settings(Path(str(_file(name))))
        adapter = adapter_of(values["adapter"]) if "adapter" in values else LoraAdapter()
        found.append(
            RecipeSummary(name, values["title"], values["source"], adapter.summary, values["prompt"])
        )
    return tuple(found)


def recipe_text(name: str) -> str:
    """A packaged recipe as it is written, with its comments; a copy of it is a recipe of one's own.

    Raises:
        ConfigError: naming the near ones and all there are.
    """
    if name not in _names():
        raise _unknown(name, "the name of a recipe")
    return str(_file(name).read_text(encoding="utf-8"))


def settings_of(name_or_path: str | PathLike[str]) -> dict[str, Any]:
    """What a packaged recipe or a YAML file says; a bare name is a recipe's, whatever files there are.

    Raises:
        DataNotFoundError: when the file cannot be read.
        ConfigError: when there is no such recipe, or the file is no YAML mapping.
    """
    if isinstance(name_or_path, str) and name_or_path in _names():
        return read_settings(Path(str(_file(name_or_path))))
    path = Path(fspath(name_or_path))
    is_name = isinstance(name_or_path, str) and path.name == name_or_path and not path.suffix
    if is_name and not path.exists():
        raise _unknown(str(name_or_path), "a YAML file or the name of a recipe")
    return read_settings(path)


def _names() -> list[str]:
    found = [item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml")]
    return sorted(found, key=lambda name: (name != "default", name))


def _file(name: str) -> Any:
    return _FOLDER.joinpath(f"{name}.yaml")


def _unknown(name: str, expected: str) -> ConfigError:
    names = _names()
    return ConfigError(
        f"Expected {expected}, found {shown(name)}{near(name, names)}; there are {', '.join(names)}."
    )
