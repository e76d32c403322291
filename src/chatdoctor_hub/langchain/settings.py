"""Telling a caller which argument was wrong, in one sentence."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel, ValidationError

from chatdoctor_hub.errors import ConfigError

__all__ = ["check_construction", "check_known", "from_environment", "in_one_sentence"]

_HERE = ("device", "dtype", "revision", "adapters", "quantization")
_THERE = ("dialect", "provider", "chunk_timeout")
# What LangChain's standard parameters are for a server means nothing to an engine that is there already.
_OF_ENGINES = ("safety", *_HERE, *_THERE, "api_key", "timeout", "max_retries", "base_url")
_OTHER_NAMES = {
    "max_new_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "stop_sequences": "stop",
    "model_name": "model",
    "model_id": "model",
    "repo_id": "model",
    "endpoint_url": "base_url",
    "openai_api_base": "base_url",
    "huggingfacehub_api_token": "api_key",
    "token": "api_key",
    "request_timeout": "timeout",
    "stream_chunk_timeout": "chunk_timeout",
    "prompt": "safety",
    "safety_prompt": "safety",
    "functions": "tools",
    "load_in_4bit": "quantization",
    "load_in_8bit": "quantization",
    "lora": "adapters",
    "loras": "adapters",
    "lora_path": "adapters",
    "peft": "adapters",
    "function_call": "tool_choice",
}


_WHERE = {"base_url": "CHATDOCTOR_BASE_URL", "api_key": "CHATDOCTOR_API_KEY"}


def from_environment(settings: Mapping[str, Any]) -> dict[str, str]:
    """The server of the environment, with its token, for a model of which nothing was said.

    The token belongs to that address, and is given to no other.
    """
    if any(settings.get(name) is not None for name in ("model", "base_url", "engine")):
        return {}
    found = {field: os.environ.get(name, "") for field, name in _WHERE.items() if settings.get(field) is None}
    return {field: value for field, value in found.items() if value} if found.get("base_url") else {}


def check_construction(kind: type[BaseModel], settings: Mapping[str, Any], hosted: str, own: str) -> None:
    """Refuse unknown arguments, a model given twice or not at all, and settings that it does not have.

    Args:
        kind: the class that is made.
        settings: its arguments.
        hosted: what the names of models begin with that run at Hugging Face.
        own: what stands for the engine's own safety prompt.

    Raises:
        ConfigError: listing all that is wrong.
    """
    check_known(kind.__name__, settings, kind.model_fields)
    given = {name for name, value in settings.items() if value is not None}
    if settings.get("safety") == own:
        given.remove("safety")
    if ("engine" in given) == bool(given & {"model", "base_url"}):
        found = "both" if "engine" in given else "neither"
        raise ConfigError(
            f"Expected either model (a folder or Hub id) and base_url (of a server) or engine, found {found}; "
            f"give one of them{', or set CHATDOCTOR_BASE_URL' if found == 'neither' else ''}."
        )
    if "engine" in given:
        wrong, why = sorted(given & set(_OF_ENGINES)), "be the engine's own; give it to the engine"
    elif "base_url" in given or str(settings.get("model")).startswith(hosted):
        wrong, why = sorted(given & set(_HERE)), "be left to the server; leave it out"
    else:
        wrong, why = sorted(given & set(_THERE)), "be for a model that runs elsewhere; give base_url too"
    if wrong:
        expected, do = why.split("; ")
        raise ConfigError(f"Expected {', '.join(wrong)} to {expected}, found another one; {do}.")


def check_known(what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse arguments that do not exist.

    Raises:
        ConfigError: naming each of them, and the near one where there is one.
    """
    unknown = [name for name in given if name not in known]
    if unknown:
        faults = " ".join(_fault(name, sorted(known)) for name in unknown)
        raise ConfigError(f"Expected arguments that {what} knows, found {faults}")


def _fault(name: str, known: list[str]) -> str:
    import difflib

    near = (
        [_OTHER_NAMES[name]]
        if _OTHER_NAMES.get(name) in known
        else difflib.get_close_matches(name, known, n=1)
    )
    return f"{name!r}: did you mean {near[0]!r}?" if near else f"{name!r}: leave it out."


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
        # Not from the report: that has the values in it, keys among them.
        raise ConfigError(f"Expected other settings for {kind.__name__}, found {listed}.") from None
