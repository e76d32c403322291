"""Telling a caller which argument was wrong, in one sentence."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from chatdoctor_hub.errors import ConfigError

__all__ = ["check_construction", "check_known", "in_one_sentence"]

_TOOLS = ("tools", "tool_choice", "response_format", "functions", "function_call")
_REMOTE = ("api_key", "base_url", "timeout", "max_retries")


def check_construction(kind: type[BaseModel], settings: Mapping[str, Any]) -> None:
    """Refuse unknown arguments, and a model given twice or not at all.

    Raises:
        ConfigError: listing all that is wrong.
    """
    check_known(kind.__name__, settings, kind.model_fields)
    given = [name for name in ("model", "engine") if settings.get(name) is not None]
    if len(given) != 1:
        raise ConfigError(
            f"Expected either model (a folder or Hub id) or engine, found {'both' if given else 'neither'}; "
            "give one of them."
        )
    if given == ["engine"]:
        for name in ("prompt", "device", "dtype", "revision"):
            if settings.get(name) is not None:
                raise ConfigError(
                    f"Expected {name} to be the engine's own, found another one beside it; give it to the "
                    "engine."
                )


def check_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse arguments that do not exist.

    Raises:
        ConfigError: naming each of them, and the near one where there is one.
    """
    names = sorted(known)
    faults = [_fault(name, names) for name in given if name not in names]
    if faults:
        raise ConfigError(f"Expected arguments that {what} knows, found {' '.join(faults)}")


def _fault(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    if near:
        return f"{name!r}: did you mean {near[0]!r}?"
    if name in _TOOLS:
        return f"{name!r}: this chat model calls no tools and keeps to no schema."
    if name in _REMOTE:
        return f"{name!r}: the model runs in this process, there is no server to reach."
    return f"{name!r}: leave it out."


@contextmanager
def in_one_sentence(kind: type[BaseModel]) -> Iterator[None]:
    """Turn pydantic's report into one sentence.

    Raises:
        ConfigError: in the place of a ValidationError.
    """
    try:
        yield
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc'][:1])}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        listed = "; ".join(dict.fromkeys(faults))
        raise ConfigError(f"Expected other settings for {kind.__name__}, found {listed}.") from error
