"""What a chat model tells LangChain about itself: for traces, caches, profiles and files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from langchain_core.language_models.base import LangSmithParams
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import BaseMessage

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.langchain.calls import SAMPLING, settings_of
from chatdoctor_hub.langchain.counting import tokens_of
from chatdoctor_hub.langchain.errors import in_both_families
from chatdoctor_hub.langchain.loader import EngineLoader, ModelChoice, identity
from chatdoctor_hub.langchain.messages import PROVIDER, to_hub_messages
from chatdoctor_hub.langchain.safety import form_of, pair_of
from chatdoctor_hub.langchain.tools import to_tools
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from langchain_core.language_models.model_profile import ModelProfile

    from chatdoctor_hub.inference.engine import Engine
    from chatdoctor_hub.inference.types import Quantization

__all__ = ["DescribedModel"]

_DECIDING = (
    "revision",
    "device",
    "dtype",
    "adapters",
    "quantization",
    "base_url",
    "dialect",
    "provider",
    "adapter",
    "overflow",
    *SAMPLING,
)


class DescribedModel(BaseChatModel):
    """A chat model that knows its engine and says what it is; `ChatDoctor` adds how it answers."""

    if TYPE_CHECKING:
        model: str | None
        base_url: str | None
        engine: Engine | None
        safety: str | PromptPair | None
        revision: str | None
        device: str | None
        dtype: str | None
        adapters: dict[str, str] | None
        quantization: Quantization | None
        adapter: str | None
        dialect: str | None
        provider: str | None
        chunk_timeout: float | None
        api_key: Any
        timeout: float | None
        max_retries: int | None
        temperature: float
        max_tokens: int
        stop: list[str] | None
        loader: EngineLoader

    # The engine

    @property
    def _choice(self) -> ModelChoice:
        return ModelChoice(
            model=self.model,
            base_url=self.base_url,
            prompt=pair_of(self.safety),
            device=self.device,
            dtype=self.dtype,
            revision=self.revision,
            adapters=tuple((self.adapters or {}).items()),
            quantization=self.quantization,
            dialect=self.dialect,
            provider=self.provider,
            chunk_timeout=self.chunk_timeout,
            api_key=self.api_key.get_secret_value() if self.api_key is not None else None,
            timeout=self.timeout,
            max_retries=self.max_retries,
        )

    def _engine(self) -> Engine:
        return self.engine if self.engine is not None else self.loader.load(self._choice)

    @property
    def _name(self) -> str:
        if self.engine is not None:
            return self.engine.describe().model
        return self.model or str(self.base_url)

    # Traces and caches

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _safety_params(self) -> dict[str, Any]:
        engine = self.engine
        known = identity(engine.describe()) if engine is not None else self.loader.foresee(self._choice)
        form = form_of(self.safety)
        digest = known["serving_sha256"] if form == "serving" else None
        return {**known, "prompt_form": form, "serving_sha256": digest}

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """Everything that decides on the answer; it goes into traces and into the key of cached answers."""
        return {
            "model": self._name,
            **self._safety_params,
            **{name: getattr(self, name) for name in _DECIDING},
            "stop": self.stop,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        with in_both_families():
            settings, _ = settings_of(self, self._name, stop, kwargs)
        version = self.output_version
        return repr(sorted({**self._identifying_params, **settings, "output_version": version}.items()))

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        model = kwargs.get("model")
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_name=model if isinstance(model, str) else self._name,
            ls_model_type="chat",
            ls_temperature=_or(kwargs.get("temperature"), self.temperature),
            ls_max_tokens=_or(kwargs.get("max_tokens"), self.max_tokens),
        )
        if stop or self.stop:
            params["ls_stop"] = stop or self.stop
        known = self._safety_params
        safety = {f"ls_{name}": known[name] for name in ("prompt", "prompt_form", "serving_sha256")}
        chosen = {"ls_adapter": self.adapter if model is None else None, "ls_quantization": self.quantization}
        set_ones = {name: value for name, value in chosen.items() if value is not None}
        params.update({**safety, **set_ones})  # type: ignore[typeddict-item]
        return params

    # What it takes

    def forget_unset_profile(self) -> None:
        """Leave the profile to be asked of the engine each time, unless the caller gave one."""
        if self.__dict__.get("profile") is None:
            self.__dict__.pop("profile", None)

    def __getattr__(self, name: str) -> Any:
        if name == "profile":
            return self._profile()
        return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it from type checkers

    def _profile(self) -> ModelProfile:
        if self.engine is not None:
            length = self.engine.describe().context_length
        else:
            length = self.loader.context_length(self._choice)
        limit: ModelProfile = {"max_input_tokens": length} if length is not None else {}
        return {
            "name": self._name,
            "open_weights": True,
            **limit,
            "text_inputs": True,
            "image_inputs": False,
            "audio_inputs": False,
            "video_inputs": False,
            "pdf_inputs": False,
            "text_outputs": True,
            "tool_calling": True,
            "tool_choice": True,
            "tool_call_streaming": True,
            "structured_output": True,
            "temperature": True,
        }

    # Tokens

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of the prompt these messages become, with the safety prompt, tools and the template's marks.

        Exact for a conversation; parts of one (`trim_messages` asks for them) are counted nearly as exactly.

        Raises:
            ConfigError: for what is no tool.
        """
        with in_both_families():
            called = to_hub_messages(messages)
            return tokens_of(self._engine(), called, to_tools(tools or ()), form_of(self.safety))

    def get_num_tokens(self, text: str) -> int:
        """Tokens of a text; by a server, what it adds to a prompt."""
        with in_both_families():
            engine = self._engine()
            if self.custom_get_token_ids is not None or hasattr(engine, "encode"):
                return len(self.get_token_ids(text))
            said = [{"role": "user", "content": words} for words in (f"x {text}", "x")]
            whole, rest = (engine.count_tokens([message]) for message in said)
            return max(whole - rest, 0)

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of a text as it stands, by the model's own tokenizer.

        Raises:
            ConfigError: when the model runs on a server, which does not show its tokenizer.
        """
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        with in_both_families():
            encode = getattr(self._engine(), "encode", None)
            if encode is None:
                raise ConfigError(
                    f"{self._name}: expected an engine with a tokenizer, found {type(self._engine()).__name__}; use "
                    "get_num_tokens, or give custom_get_token_ids."
                )
            return list(encode(text))

    # Files

    @classmethod
    def is_lc_serializable(cls) -> bool:
        """Whether LangChain can write it down; one that was made around an engine cannot be read back."""
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        """What is never written down, and which environment variable holds it.

        Not `HF_TOKEN`: it would go to whatever address the file names.
        """
        return {"api_key": "CHATDOCTOR_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        """What is written in another form than it has."""
        safety = self.safety
        return {"safety": safety.to_record() if isinstance(safety, PromptPair) else safety}


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value
