"""JSON schemas on their way to a grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from chatdoctor_hub.errors import ConfigError

__all__ = ["narrowed", "needed_in"]

# One space may follow a comma or a colon, as in what `json.dumps` and chat templates write, and none stands
# elsewhere: where white space is free, a model that is unsure writes nothing else.
_SPACING = {"whitespace_flexible": False, "item_separator": ", ?", "key_separator": ": ?"}
_COMBINING = ("allOf", "anyOf", "oneOf", "$ref", "$dynamicRef")


def narrowed(schema: Mapping[str, Any], where: str = "the response schema") -> dict[str, Any]:
    """The schema to write by: whatever it allows, `schema` allows.

    An object whose properties are named gets no others, unless the schema says something about others, or
    puts schemas together in a way that one of them must leave room for what another one asks. The schema
    {} stands for any object.

    Args:
        schema: JSON schema; not changed.
        where: what it is the schema of, for messages.

    Raises:
        ConfigError: when it is no JSON object, or does not allow objects where one is needed.
    """
    if not isinstance(schema, Mapping):
        raise ConfigError(
            f"Expected {where} to be a JSON schema, found {type(schema).__name__}; give a mapping."
        )
    try:
        own: dict[str, Any] = json.loads(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"Expected {where} to be a JSON schema, found something that JSON has no form for "
            f"({type(error).__name__}); use mappings, lists, strings, numbers and booleans."
        ) from error
    if not set(own) - {"title", "description", "$schema"}:
        own["type"] = "object"
    nodes = list(_objects(own))
    if not any("allOf" in node or ("properties" in node and _combines(node)) for node in nodes):
        for node in nodes:
            if isinstance(node.get("properties"), dict) and not (
                {"additionalProperties", "patternProperties", "unevaluatedProperties"} & set(node)
            ):
                node["additionalProperties"] = False
    return {**own, "x-guidance": _SPACING}


def needed_in(*schemas: Any) -> tuple[str, ...]:
    """The names of properties that schemas require anywhere, in the order they stand in."""
    names: dict[str, None] = {}
    for schema in schemas:
        for node in _objects(schema):
            required = node.get("required")
            names.update(dict.fromkeys(name for name in required or () if isinstance(name, str)))
    return tuple(names)


def _combines(node: Mapping[str, Any]) -> bool:
    return any(keyword in node for keyword in _COMBINING)


def _objects(value: Any, *, named: bool = False) -> Iterator[dict[str, Any]]:
    """Every schema within a schema; with `named`, `value` maps names to schemas and is none itself."""
    if isinstance(value, list):
        for item in value:
            yield from _objects(item)
    elif isinstance(value, dict):
        if not named:
            yield value
        for key, item in value.items():
            if named or key not in ("const", "enum", "default", "examples", "required"):
                within = not named and key in ("properties", "patternProperties", "$defs", "definitions")
                yield from _objects(item, named=within)
