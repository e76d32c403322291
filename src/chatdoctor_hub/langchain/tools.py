"""What callers bind as tools and as the form of an answer, in the form that engines take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any

from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import PydanticUserError, TypeAdapter
from typing_extensions import is_typeddict

from chatdoctor_hub.errors import ConfigError

__all__ = ["to_choice", "to_schema", "to_tools"]

_REQUIRED = ("any", "required")
_JSON_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
# What tells a JSON schema that has no type.
_SCHEMA_KEYS = ("properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const")


def to_tools(tools: Sequence[Any], strict: bool | None = None) -> list[dict[str, Any]]:
    """Functions, LangChain tools, pydantic classes, TypedDicts and dictionaries as OpenAI's tools.

    Args:
        tools: any mixture of them.
        strict: given on to OpenAI-like servers; True also closes the schemas to further properties.

    Raises:
        ConfigError: for something that is no tool, or one that only another provider's servers run.
    """
    return [_to_tool(number, tool, strict) for number, tool in enumerate(tools)]


def _to_tool(number: int, tool: Any, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping) and tool.get("type") == "function" and "function" in tool:
        converted = dict(tool)
        if strict is not None:
            converted["function"] = {**tool["function"], "strict": strict}
    else:
        try:
            converted = convert_to_openai_tool(tool, strict=strict)
        except RecursionError:
            raise _endless(_named(tool)) from None
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"Expected tool {number} to be a function, a LangChain tool, a pydantic class, a TypedDict or a "
                f"dictionary with a name, found {_named(tool)}; turn it into one of these."
            ) from error
        converted = _with_references(converted, getattr(tool, "tool_call_schema", tool), strict)
    function = converted.get("function")
    if converted.get("type") != "function" or not isinstance(function, Mapping) or not function.get("name"):
        raise ConfigError(
            f"Expected tool {number} to be a function with a name, found one of type {converted.get('type')!r}; "
            "tools that run on another provider's servers do not exist here."
        )
    return converted


def _with_references(converted: dict[str, Any], form: Any, strict: bool | None) -> dict[str, Any]:
    """The tool with the whole schema of parameters that refer to themselves, which LangChain cuts off."""
    if not (isinstance(form, type) and is_basemodel_subclass(form)):
        return converted
    whole = _schema_of(form)
    kinds = whole.get("$defs") or whole.get("definitions") or {}
    if not any(name in _reached(kind, kinds) for name, kind in kinds.items()):
        return converted
    if strict:
        _close(whole)
    # Some chat templates and servers look for the properties at the outermost level.
    root = kinds.get(str(whole.pop("$ref", "")).rpartition("/")[2], {})
    said = {key: value for key, value in {**whole, **root}.items() if key not in ("title", "description")}
    return {**converted, "function": {**converted["function"], "parameters": said}}


def _reached(kind: Any, kinds: Mapping[str, Any]) -> set[str]:
    """The names of the definitions that one refers to, by others too."""
    reached: set[str] = set()
    new = _references(kind)
    while new:
        reached |= new
        new = {name for known in new for name in _references(kinds.get(known))} - reached
    return reached


def _references(value: Any) -> set[str]:
    if isinstance(value, list):
        return {name for item in value for name in _references(item)}
    if not isinstance(value, dict):
        return set()
    own = value.get("$ref")
    named = {own.rpartition("/")[2]} if isinstance(own, str) else set()
    return named | _references(list(value.values()))


def _close(schema: Any) -> None:
    """Allow no properties but those that are named, as LangChain does for strict tools."""
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    elif isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict):
            schema["additionalProperties"] = False
        _close(list(schema.values()))


def _named(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else type(value).__name__


def to_choice(choice: Any, tools: Sequence[Mapping[str, Any]]) -> str | None:
    """A tool choice in any of its usual forms as "auto", "none", "required" or a tool's name; None for no choice.

    Args:
        choice: one of these words, "any" (required), True (required), False and None (no choice), a tool's name,
            or a dictionary of OpenAI or Anthropic that says one of these.
        tools: what can be chosen.

    Raises:
        ConfigError: for another form, a name that no tool has, or a call required of no tool.
    """
    names = [str(tool["function"]["name"]) for tool in tools]
    wanted = _from_mapping(choice) if isinstance(choice, Mapping) else choice
    if wanted is None or wanted is False:
        return None
    if wanted is True or wanted in _REQUIRED:
        wanted = "required"
    if wanted == "required" and not names:
        raise ConfigError("Expected a tool to choose, found none bound; bind one, or leave tool_choice out.")
    if wanted not in ("auto", "none", "required", *names):
        raise ConfigError(
            f"Expected tool_choice to be auto, none, any, required or a bound tool ({', '.join(names) or 'none'}), "
            f"found {choice!r}; choose one of these."
        )
    return str(wanted)


def _from_mapping(choice: Mapping[str, Any]) -> Any:
    function = choice.get("function")
    if isinstance(function, Mapping):
        return function.get("name")
    return choice.get("name") or choice.get("type")


def to_schema(form: Any) -> tuple[str, dict[str, Any]] | None:
    """The name and the JSON schema of a response format; {} stands for any JSON object, None for free text.

    Args:
        form: a pydantic class, a TypedDict, a JSON schema, or a response format as OpenAI ("json_schema",
            "json_object", "text"), TGI ("value") or llama.cpp ("schema") write it.

    Raises:
        ConfigError: for another form.
    """
    if form is None:
        return None
    if isinstance(form, Mapping):
        kind = form.get("type")
        if kind == "text":
            return None
        inner = form.get("json_schema")
        if isinstance(inner, Mapping) and isinstance(inner.get("schema"), Mapping):
            return str(inner.get("name") or "answer"), dict(inner["schema"])
        if kind == "json_object":
            found = form.get("value", form.get("schema", {}))
            if isinstance(found, Mapping):
                return str(found.get("title") or "answer"), dict(found)
        if kind in _JSON_TYPES or set(_SCHEMA_KEYS) & set(form):
            return str(form.get("title") or "answer"), dict(form)
    elif isinstance(form, type):
        return form.__name__, _schema_of(form)
    raise ConfigError(
        f"Expected response_format to be a pydantic class, a TypedDict, a JSON schema or a response format of "
        f"type json_schema, json_object or text, found {_named(form)}; use one of these."
    )


def _schema_of(form: type) -> dict[str, Any]:
    try:
        # Both versions of pydantic keep what refers to itself by `$ref`, which LangChain's own way would cut off.
        for name in ("model_json_schema", "schema"):
            if hasattr(form, name):
                made: dict[str, Any] = getattr(form, name)()
                return made
        if is_dataclass(form):
            return TypeAdapter(form).json_schema()
        if is_typeddict(form):
            return convert_to_json_schema(form)
    except RecursionError:
        raise _endless(form.__name__) from None
    except (ValueError, TypeError, PydanticUserError) as error:
        raise ConfigError(
            f"Expected {form.__name__} to have a JSON schema, found a type in it that has none; use types that "
            "JSON has."
        ) from error
    raise ConfigError(
        f"Expected a pydantic class, a TypedDict or a dataclass, found the class {form.__name__}; make one of it."
    )


def _endless(name: str) -> ConfigError:
    return ConfigError(
        f"Expected {name} to be a form that can be written down, found a TypedDict or function that refers to "
        "itself; make a pydantic class of it."
    )
