"""`ask_model`: load the model in a folder, and ask it one question."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from chatdoctor_hub.models import without_bars

__all__ = ["QUESTION", "ask_model", "missing_to_ask"]

QUESTION = "How long does a cold last?"
_LONGEST = 32  # tokens
_NEEDED = ("torch", "transformers", "peft")


def missing_to_ask() -> tuple[str, ...]:
    """The packages that running a model needs and that are not installed."""
    return tuple(name for name in _NEEDED if find_spec(name) is None)


def ask_model(folder: Path) -> str:
    """What the model in a folder answers to `QUESTION`, by its own chat template, the likeliest words.

    An adapter is put on its base, which is fetched when it is not on this machine.

    Args:
        folder: a release.

    Raises:
        ModelNotFoundError: when the base is neither here nor on the Hub.
        ModelFormatError, ReleaseError, PromptError: when it cannot be loaded.
        GenerationError: when it computes no numbers.
        MissingExtraError: see `missing_to_ask`.
    """
    from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

    request = ChatRequest(({"role": "user", "content": QUESTION},), Sampling(max_tokens=_LONGEST))
    with without_bars():
        return LocalEngine(folder).generate(request).text
