"""Loading a chat model's engine when it is first needed, once, and knowing what it will be before that."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import ChatDoctorError
from chatdoctor_hub.inference import Engine, LocalEngine
from chatdoctor_hub.inference.loading import resolve_parts
from chatdoctor_hub.prompts import PromptPair

__all__ = ["EngineLoader", "ModelChoice", "identity"]


@dataclass(frozen=True)
class ModelChoice:
    """Which engine is meant.

    Args:
        model: a folder or Hub id.
        prompt: a pair or its id; None for the release's own.
        device, dtype: as `LocalEngine` takes them.
        revision: branch, tag or commit of a Hub id.
    """

    model: str
    prompt: str | PromptPair | None = None
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None


class EngineLoader:
    """Loads engines once, for a chat model and for the copies LangChain makes of it.

    LangChain copies a model for every call with other settings (`configurable_fields`); the copies share
    the loader, so that the weights are loaded once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: dict[ModelChoice, Engine] = {}

    def __copy__(self) -> EngineLoader:
        return self

    def __deepcopy__(self, memo: Any) -> EngineLoader:
        return self

    def __reduce__(self) -> tuple[type[EngineLoader], tuple[()]]:
        return (EngineLoader, ())

    def loaded(self, choice: ModelChoice) -> Engine | None:
        """The engine, if it has been loaded."""
        return self._engines.get(choice)

    def load(self, choice: ModelChoice) -> Engine:
        """The engine, loaded now if it has not been; threads that come meanwhile wait for it.

        Raises:
            ModelNotFoundError, ModelFormatError, ReleaseError, PromptError, MissingExtraError: as
                `LocalEngine` does.
        """
        with self._lock:
            if choice not in self._engines:
                self._engines[choice] = LocalEngine(
                    choice.model,
                    prompt=choice.prompt,
                    device=choice.device,
                    dtype=choice.dtype,
                    revision=choice.revision,
                )
            return self._engines[choice]

    def foresee(self, choice: ModelChoice) -> dict[str, str | None]:
        """Prompt, its digest and the fingerprint of the weights, without loading or fetching anything.

        None stands for what cannot be known yet; an error shows when the engine is loaded.
        """
        engine = self.loaded(choice)
        if engine is not None:
            info = engine.describe()
            return identity(info.prompt, info.serving_sha256, info.fingerprint)
        try:
            parts = resolve_parts(
                choice.model, prompt=choice.prompt, revision=choice.revision, download=False
            )
            return identity(parts.pair.id, parts.pair.serving_sha256, parts.fingerprint)
        except ChatDoctorError:
            return identity(None, None, None)


def identity(
    prompt: str | None, serving_sha256: str | None, fingerprint: str | None
) -> dict[str, str | None]:
    """What, besides the sampling, decides on an answer."""
    return {"prompt": prompt, "serving_sha256": serving_sha256, "fingerprint": fingerprint}
