"""Recipes as YAML: files read with faults that say where, and settings given one by one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import yaml

from chatdoctor_hub.errors import ConfigError, DataNotFoundError
from chatdoctor_hub.training.recipe.faults import shown

__all__ = ["changes_between", "in_yaml", "merged", "read_settings", "with_settings"]


# Where a run takes place and what is looked at meanwhile changes nothing of what is learned.
_NO_DEVIATION = {
    *("name", "title", "source", "deviations", "base", "data", "validation", "output", "seed"),
    *("probes", "after"),
    *(f"training.{name}" for name in ("token_budget", "workers", "loggers", "checkpoints", "checkpointing")),
    *("training.speed", "training.validations"),
}


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also reads 1e-3 as a number, as YAML 1.2 and everybody else does.

    A name that stands twice in a mapping is a fault: YAML forbids it, and PyYAML would take the last one.
    """

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} twice", key.start_mark)
            seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """PyYAML's safe dumper, which puts texts into quotes that `_Loader` would read as numbers."""


for _kind in (_Loader, _Dumper):
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"),
        list("-+0123456789"),
    )


def in_yaml(value: Any) -> str:
    """A value in YAML, as `read_settings` reads it; mappings keep their order."""
    return str(yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110))


def read_settings(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file.

    Raises:
        DataNotFoundError: when the file cannot be read.
        ConfigError: when it is no YAML mapping.
    """
    try:
        text = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        found = getattr(error, "strerror", None) or "a path that no file can have"
        raise DataNotFoundError(
            f"{path}: expected a recipe in YAML, found no readable file ({found}); check the path."
        ) from error
    try:
        values = _parsed(text.decode("utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path}: expected a recipe in YAML, found something else{_place(error)}; mend it."
        ) from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of settings, found {type(values).__name__}; mend it.")
    return {str(key): value for key, value in values.items()}


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes`, mapping by mapping; data and an adapter of another kind replace what there was."""
    result = dict(values)
    for name, change in changes.items():
        there = result.get(name)
        if isinstance(change, Mapping) and isinstance(there, Mapping) and not _is_whole(name, there, change):
            result[name] = merged(there, change)
        else:
            result[name] = change
    return result


def changes_between(recipe: Mapping[str, Any], run: Mapping[str, Any]) -> tuple[str, ...]:
    """What a run is told to do otherwise than its recipe, a sentence each.

    Args:
        recipe: all settings, for JSON.
        run: the same of the run.
    """
    changes: list[str] = []
    for name, value in run.items():
        there = recipe[name]
        if name in _NO_DEVIATION or value == there:
            continue
        if name == "training":
            inner = {f"{name}.{key}": item for key, item in value.items()}
            changes += changes_between({f"{name}.{key}": item for key, item in there.items()}, inner)
        else:
            changes.append(
                f"{name} is {_brief(value)} where the recipe has {_brief(there)}; set for this run"
            )
    return tuple(changes)


def with_settings(values: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Settings of a recipe, and more of them given one by one, as `--set` does.

    Args:
        values: keywords of `RecipeConfig.load`; not changed.
        settings: "training.lr=1e-4", "adapter.kind=parallel", "data.0.weight=0.5": dots lead into settings
            within settings, the value is YAML. Later ones win; `data` adds a source each time.

    Raises:
        ConfigError: listing every one that is no setting with a value, or leads into something that has none.
    """
    result: dict[str, Any] = _copied(values)
    faults = []
    for setting in settings:
        path, equals, text = setting.partition("=")
        names = path.strip().split(".")
        if not equals or not all(names):
            faults.append(f"{shown(setting)}: expected key=value, as in training.lr=1e-4")
            continue
        try:
            _put(result, names, _parsed(text))
        except yaml.YAMLError:
            faults.append(f"{path.strip()}: expected a value in YAML, found {shown(text)}")
        except ValueError as error:
            faults.append(f"{path.strip()}: {error}")
    if faults:
        raise ConfigError(
            f"Expected settings that can be read, found {len(faults)} fault(s): {'; '.join(faults)}.", faults
        )
    return result


def _put(values: dict[str, Any], names: list[str], value: Any) -> None:
    first, *rest = names
    if first == "data":
        sources = _listed(values.get("data"))
        if not rest:
            values["data"] = [*sources, *_listed(value)]
            return
        values["data"] = [_as_mapping(source) for source in sources]
    elif first == "validation" and rest:
        values["validation"] = _as_mapping(values.get("validation") or {})
    _set(values, names, value)


def _set(node: Any, names: list[str], value: Any) -> None:
    """Set what `names` lead to, making mappings on the way.

    Raises:
        ValueError: when they lead into something that has no settings.
    """
    name, *rest = names
    key: Any = name
    if isinstance(node, list):
        if not (name.isdecimal() and int(name) < len(node)):
            raise ValueError(f"expected the number of one of {len(node)} (from 0), found {name!r}")
        key = int(name)
    elif not isinstance(node, dict):
        raise ValueError(f"expected settings to lead into, found {shown(node)}")
    if not rest:
        node[key] = value
        return
    if isinstance(node, dict) and node.get(key) is None:
        node[key] = {}
    _set(node[key], rest, value)


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, Loader=_Loader)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        # What PyYAML's constructors raise for `!!int ''`, 2024-13-45 and the like; nesting without end.
        raise yaml.YAMLError(type(error).__name__) from error


def _place(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return ""
    problem = getattr(error, "problem", "") or ""
    return f" at line {mark.line + 1}" + (f" ({problem})" if problem.endswith(" twice") else "")


def _brief(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _is_whole(name: str, there: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Whether a change says all there is: a source does, and so does an adapter of another kind."""
    return name == "data" or ("kind" in change and change["kind"] != there.get("kind", "lora"))


def _as_mapping(source: Any) -> Any:
    return {"path": fspath(source)} if isinstance(source, (str, PathLike)) else source


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copied(item) for key, item in value.items()}
    return [_copied(item) for item in value] if isinstance(value, (list, tuple)) else value
