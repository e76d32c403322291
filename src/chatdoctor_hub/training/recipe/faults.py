"""FaultsError of settings in words: where, what was found, what is allowed, what may have been meant."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel, ValidationError

__all__ = ["FaultsError", "UnknownValueError", "Valid", "in_words", "near", "shown"]

_MAPPINGS = ("model_type", "model_attributes_type", "dict_type")


class UnknownValueError(AttributeError):
    """A rule asked for a setting that is wrong in itself; never leaves the rule."""


class Valid:
    """Those of some settings that are right, as attributes.

    Raises:
        UnknownValueError: when another one is asked for.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def __getattr__(self, name: str) -> Any:
        raise UnknownValueError(name)


class FaultsError(ConfigError):
    """A `ConfigError` that also knows what of the settings is right.

    Args:
        said: all faults in one sentence.
        faults: one by one, each beginning with the name of a setting.
        valid: the rest.
    """

    def __init__(self, said: str, faults: list[str], valid: Valid | None = None) -> None:
        super().__init__(said, faults)
        self.valid = valid


def near(name: str, names: list[str]) -> str:
    """What may have been meant, ", did you mean …?", for a name that is like one of `names`; else ""."""
    found = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.lower(), names, n=1)
    return f", did you mean {found[0]!r}?" if found else ""


def shown(value: Any) -> str:
    """A value as Python writes it, cut where it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(value)


def in_words(
    model: type[BaseModel],
    values: Mapping[str, Any],
    error: ValidationError,
    hint: Callable[[str], str],
    right: dict[str, Any],
) -> list[str]:
    """One sentence a fault.

    Args:
        model: whose settings they are.
        values: as they were given.
        error: what pydantic found.
        hint: says what may have been meant by an unknown name.
        right: gets what is right within settings that are not right as a whole.
    """
    said: dict[str, None] = {}
    for fault in error.errors():
        name = str(fault["loc"][0]) if fault["loc"] else ""
        inner = fault.get("ctx", {}).get("error")
        if isinstance(inner, ConfigError) and len(inner.args) > 1:
            # Settings within settings list their own.
            said |= dict.fromkeys(f"{name}.{one}" for one in inner.args[1])
            if isinstance(inner, FaultsError) and inner.valid is not None:
                right[name] = inner.valid
        else:
            said[_in_words(model, values, fault, hint)] = None
    return list(said)


def _in_words(
    model: type[BaseModel], values: Mapping[str, Any], fault: Any, hint: Callable[[str], str]
) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    name = str(fault["loc"][0]) if fault["loc"] else ""
    field = model.model_fields.get(name)
    extra = field.json_schema_extra if field else None
    if fault["type"] == "extra_forbidden":
        return f"{where}: no such setting{hint(where)}"
    if fault["type"] == "missing" and where == name:
        return f"{where}: missing" + (f" ({field.description})" if field and field.description else "")
    if isinstance(extra, dict) and "allowed" in extra:
        # A choice between types has a fault for each; what is allowed as a whole says more.
        return f"{name}: input should be {extra['allowed']}, found {shown(values[name])}"
    if fault["type"] in _MAPPINGS:
        return f"{where}: input should be a mapping of settings, found {shown(fault['input'])}"
    if fault["type"] == "value_error":
        return f"{where}: {fault['ctx']['error']}"
    message = f"{where}: {fault['msg'][:1].lower()}{fault['msg'][1:]}"
    if fault["type"] == "missing":
        return message
    allowed = re.findall(r"'([^']+)'", str(fault.get("ctx", {}).get("expected", "")))
    meant = near(fault["input"], allowed) if isinstance(fault["input"], str) else ""
    return f"{message}, found {shown(fault['input'])}{meant}"
