"""`Strict`: settings that cannot be misspelt, with all faults told at once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from os import PathLike, fspath
from typing import Any, ClassVar, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, ValidationInfo, field_validator

from chatdoctor_hub.training.recipe.faults import FaultsError, UnknownValueError, Valid, in_words

__all__ = ["Rule", "Strict"]

Rule = Callable[[Any], Iterable[str]]
"""Given settings, the faults in how they go together, each beginning with the name of a setting.

It is asked even when some settings are wrong in themselves; to read one of those ends the rule quietly.
"""


class Strict(BaseModel):
    """Base of all settings of a recipe: frozen, no unknown names, no silent conversions.

    Raises:
        ConfigError: listing every setting that is wrong, what was found and what is allowed.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    rules: ClassVar[tuple[Rule, ...]] = ()

    def __init__(self, /, **values: Any) -> None:
        values = {name: _plain(value) for name, value in values.items()}
        right: dict[str, Any] = {}
        faults: list[str] = []
        try:
            self.__pydantic_validator__.validate_python(values, self_instance=self, context=right)
        except ValidationError as error:
            faults = in_words(type(self), values, error, self.hint, right)
        for name, field in type(self).model_fields.items():
            if name not in values and not field.is_required():
                right[name] = field.get_default(call_default_factory=True)
        valid = Valid(right)
        for rule in self.rules:
            faults += _told_by(rule, valid)
        if faults:
            listed = "; ".join(faults)
            raise FaultsError(
                f"Expected a valid {type(self).__name__}, found {len(faults)} fault(s): {listed}.",
                faults,
                valid,
            )

    @field_validator("*", mode="after")
    @classmethod
    def _noted(cls, value: Any, info: ValidationInfo) -> Any:
        """What is right is told to the rules, whatever is wrong beside it."""
        if isinstance(info.context, dict) and info.field_name:
            info.context[info.field_name] = value
        return value

    @classmethod
    def hint(cls, name: str) -> str:
        """What may have been meant by a setting that does not exist: ", did you mean …?", or ""."""
        inner = [f"{field}.{name}" for field, kind in cls._inner() if name in kind.model_fields]
        near = inner or difflib.get_close_matches(name, list(cls.model_fields), n=1)
        return f", did you mean {near[0]!r}?" if near else ""

    @classmethod
    def _inner(cls) -> Iterator[tuple[str, type[Strict]]]:
        for name, field in cls.model_fields.items():
            for kind in (field.annotation, *get_args(field.annotation)):
                if isinstance(kind, type) and issubclass(kind, Strict):
                    yield name, kind


def _plain(value: Any) -> Any:
    """As YAML and the keywords of Python may give it: sequences are tuples, paths are text."""
    if isinstance(value, PathLike):
        return fspath(value)
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return tuple(value) if isinstance(value, list) else value


def _told_by(rule: Rule, valid: Valid) -> list[str]:
    found: list[str] = []
    # A rule that depends on a setting that is wrong has nothing to add: that one is told already.
    with suppress(UnknownValueError):
        found.extend(rule(valid))
    return found
