"""Which safety prompt a chat model answers under: the release's own, another, or none."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.types import Form
from chatdoctor_hub.prompts import PromptPair

__all__ = ["OWN", "Safety", "form_of", "pair_of", "read_safety", "warn_without"]

OWN = "own"
"""The safety prompt that the release, or else the engine, brings along."""

Safety = str | PromptPair | None

_warned: set[str] = set()


def read_safety(given: Any) -> Safety:
    """The setting as it is kept.

    Args:
        given: `OWN`, the id of a prompt pair, a pair, what `PromptPair.to_record` made of one, or None.

    Raises:
        ConfigError: for anything else.
        PromptDigestError: for a record that was changed.
    """
    if given is None or isinstance(given, (str, PromptPair)):
        return given
    if isinstance(given, Mapping):
        return PromptPair.from_record(given, "safety")
    raise ConfigError(
        f"Expected safety to be a prompt's id, a PromptPair or None, found {type(given).__name__}; leave it out to "
        "have the release's own."
    )


def form_of(safety: Safety) -> Form:
    """The form of the prompt in all requests: without the safety prompt only where it was taken out."""
    return "training" if safety is None else "serving"


def pair_of(safety: Safety) -> str | PromptPair | None:
    """The prompt pair for an engine; None for its own."""
    return None if safety == OWN else safety


def warn_without() -> None:
    """Say, once in the life of this process, that answers are given without a safety prompt."""
    if "said" not in _warned:
        _warned.add("said")
        warnings.warn(
            "safety=None: answers are given without a safety prompt, and are marked so in response_metadata "
            "('serving_sha256': None). Models tuned on medical dialogues answer harmful requests without one.",
            stacklevel=3,
        )
