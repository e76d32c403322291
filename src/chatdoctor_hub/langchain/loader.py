"""Loading a chat model's engine when it is first needed, once, and knowing what it will be before that."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ChatDoctorError
from chatdoctor_hub.inference.engine import Engine
from chatdoctor_hub.inference.types import EngineInfo, Quantization
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from chatdoctor_hub.inference.weights import ModelPlan

__all__ = ["HOSTED", "EngineLoader", "ModelChoice", "identity"]

HOSTED = "hf:"
"""In front of a Hub id: the model runs at Hugging Face, not here."""

# As `inference.traits` asks a loaded model.
_LENGTHS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")


@dataclass(frozen=True)
class ModelChoice:
    """Which engine is meant.

    Args:
        model: a folder or Hub id; `hf:` in front of the latter for a model that Hugging Face runs; with
            `base_url`, what that server calls it, or None for what it serves.
        base_url: address of a server.
        prompt: a pair or its id; None for the release's own.
        device, dtype, revision, quantization: as `LocalEngine` takes them.
        adapters: as `LocalEngine` takes them, each a name and where it is.
        dialect, provider, api_key, chunk_timeout, max_retries: as `EndpointEngine` takes them.
        timeout: seconds for an answer.
    """

    model: str | None
    base_url: str | None = None
    prompt: str | PromptPair | None = None
    device: str | None = None
    dtype: str | None = None
    revision: str | None = None
    adapters: tuple[tuple[str, str], ...] = ()
    quantization: Quantization | None = None
    dialect: str | None = None
    provider: str | None = None
    chunk_timeout: float | None = None
    api_key: str | None = field(default=None, repr=False)
    timeout: float | None = None
    max_retries: int | None = None

    @property
    def remote(self) -> bool:
        """Whether the model runs elsewhere."""
        return self.base_url is not None or (self.model or "").startswith(HOSTED)


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
        """The engine, if it has been loaded; one that reaches a server is there at once."""
        if choice.remote:
            return self.load(choice)
        return self._engines.get(choice)

    def load(self, choice: ModelChoice) -> Engine:
        """The engine, loaded now if it has not been; threads that come meanwhile wait for it.

        Raises:
            ModelNotFoundError, ModelFormatError, ReleaseError, PromptError, MissingExtraError: as
                `LocalEngine` does.
            ConfigError: as `EndpointEngine` does.
        """
        engine = self._engines.get(choice)
        if engine is not None:
            return engine
        with self._lock:
            if choice not in self._engines:
                self._engines[choice] = _reach(choice) if choice.remote else _load(choice)
            return self._engines[choice]

    def foresee(self, choice: ModelChoice) -> dict[str, str | None]:
        """Prompt, its digest and the fingerprint of the weights, without loading or fetching anything.

        None stands for what cannot be known yet; an error shows when the engine is loaded.
        """
        try:
            engine = self.loaded(choice)
            if engine is not None:
                return identity(engine.describe())
            plan = _plan(choice)
        except ChatDoctorError:
            return {"prompt": None, "serving_sha256": None, "fingerprint": None}
        return {
            "prompt": plan.pair.id,
            "serving_sha256": plan.pair.serving_sha256,
            "fingerprint": plan.fingerprint(choice.quantization),
        }

    def context_length(self, choice: ModelChoice) -> int | None:
        """Tokens that the model takes, by its config, without loading or fetching it; None if unknown.

        A server is asked, once, unless that would hold up an event loop.
        """
        try:
            engine = self.loaded(choice)
            if engine is not None:
                length = engine.describe().context_length
                asking = length is None and hasattr(engine, "probe") and not _in_event_loop()
                return engine.probe().context_length if asking else length  # type: ignore[attr-defined]
            config = json.loads((_plan(choice).parts.base / "config.json").read_text(encoding="utf-8"))
        except (ChatDoctorError, OSError, ValueError):
            return None
        if not isinstance(config, dict):
            return None
        inner = config.get("text_config")
        found = {**config, **(inner if isinstance(inner, dict) else {})}
        return next((found[name] for name in _LENGTHS if isinstance(found.get(name), int)), None)


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def identity(info: EngineInfo) -> dict[str, str | None]:
    """What, besides the sampling, decides on an answer of this engine."""
    return {
        "prompt": info.prompt,
        "serving_sha256": info.serving_sha256,
        "fingerprint": info.fingerprint,
    }


def _plan(choice: ModelChoice) -> ModelPlan:
    from chatdoctor_hub.inference.weights import plan_models

    return plan_models(
        choice.model or "",
        dict(choice.adapters),
        prompt=choice.prompt,
        revision=choice.revision,
        download=False,
    )


def _load(choice: ModelChoice) -> Engine:
    from chatdoctor_hub.inference.local import LocalEngine

    engine: Engine = LocalEngine(
        choice.model or "",
        prompt=choice.prompt,
        device=choice.device,
        dtype=choice.dtype,
        revision=choice.revision,
        adapters=dict(choice.adapters),
        quantization=choice.quantization,
    )
    if choice.timeout is None:
        return engine
    from chatdoctor_hub.langchain.deadline import TimedEngine

    return TimedEngine(engine, choice.timeout)


def _reach(choice: ModelChoice) -> Engine:
    from chatdoctor_hub.inference.endpoint import EndpointEngine

    given: dict[str, Any] = {
        "model": choice.model.removeprefix(HOSTED) if choice.model else None,
        "base_url": choice.base_url,
        "prompt": choice.prompt,
        "api_key": choice.api_key,
        "timeout": choice.timeout,
        "max_retries": choice.max_retries,
        "dialect": choice.dialect,
        "provider": choice.provider,
        "chunk_timeout": choice.chunk_timeout,
    }
    return EndpointEngine(**{name: value for name, value in given.items() if value is not None})
