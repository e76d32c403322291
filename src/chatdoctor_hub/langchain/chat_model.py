"""`ChatDoctor`: a LangChain chat model over any engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LangSmithParams, LanguageModelInput
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list
from pydantic import Field, InstanceOf

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ChatReply, ChatRequest, Engine, Sampling
from chatdoctor_hub.langchain.batching import abatch_together, batch_together, parts_of, raise_first, seat_of
from chatdoctor_hub.langchain.loader import EngineLoader, ModelChoice, identity
from chatdoctor_hub.langchain.messages import PROVIDER, to_ai_chunk, to_ai_message, to_hub_messages
from chatdoctor_hub.langchain.settings import check_construction, check_known, in_one_sentence
from chatdoctor_hub.prompts import PromptPair

__all__ = ["ChatDoctor"]

_SAMPLING = ("temperature", "top_p", "top_k", "repetition_penalty", "max_tokens", "seed")


class ChatDoctor(BaseChatModel):
    """A safe medical chat model for LangChain, over a release, a model or any engine.

    The safety prompt of the release is applied by the engine on every path: invoke, stream, batch and
    their asynchronous twins. `batch` computes all inputs together; closing a stream stops the generation.
    The weights are loaded at the first call, once.

        llm = ChatDoctor(model="runs/quickstart/release")
        llm.invoke("How long does a cold last?")

    Args:
        model: a release folder, a folder of a model or adapter, or the Hub id of one of these.
        revision: branch, tag or commit of a Hub id.
        engine: an engine instead, such as `LocalEngine.of(...)` or `ScriptedEngine(...)`.
        prompt: a prompt pair or its id; the release's own by default.
        device, dtype: where and in which number type to compute; chosen by default.
        temperature, top_p, top_k, repetition_penalty, max_tokens, stop, seed: see `Sampling`; each can be
            given to a single call as well.
        streaming: True answers `invoke` by streaming too, so that callbacks see each token.

    Raises:
        ConfigError: for an unknown argument (naming the near one), a setting out of range, or neither or
            both of `model` and `engine`. A model that does not exist is found out at the first call.
    """

    model: str | None = None
    revision: str | None = None
    engine: Engine | None = Field(default=None, exclude=True, repr=False)
    prompt: str | InstanceOf[PromptPair] | None = Field(default=None, repr=False)
    device: str | None = None
    dtype: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    max_tokens: int = 256
    stop: list[str] | None = None
    seed: int | None = None
    streaming: bool | None = None
    # Passed on to the copies LangChain makes, as all fields are; not for callers.
    loader: EngineLoader = Field(default_factory=EngineLoader, exclude=True, repr=False)

    if not TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None:
            check_construction(type(self), settings)
            if isinstance(settings.get("model"), os.PathLike):
                settings["model"] = os.fspath(settings["model"])
            if isinstance(settings.get("stop"), str):
                settings["stop"] = [settings["stop"]]
            with in_one_sentence(type(self)):
                super().__init__(**settings)
            self._sampling(None, {})

    # What LangChain asks about the model

    @property
    def _llm_type(self) -> str:
        return PROVIDER

    @property
    def _choice(self) -> ModelChoice:
        return ModelChoice(self.model or "", self.prompt, self.device, self.dtype, self.revision)

    @property
    def _name(self) -> str:
        return self.engine.describe().model if self.engine is not None else str(self.model)

    @property
    def _identifying_params(self) -> dict[str, Any]:
        """Everything that decides on the answer; it goes into traces and into the key of cached answers."""
        if self.engine is not None:
            info = self.engine.describe()
            known = identity(info.prompt, info.serving_sha256, info.fingerprint)
        else:
            known = self.loader.foresee(self._choice)
        return {
            "model": self._name,
            "revision": self.revision,
            **known,
            "prompt_form": "serving",
            "device": self.device,
            "dtype": self.dtype,
            **{name: getattr(self, name) for name in _SAMPLING},
            "stop": self.stop,
        }

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        given = {**self._identifying_params, **kwargs}
        given["stop"] = self._sampling(stop, {}).stop
        return repr(sorted(given.items()))

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
        return params

    def get_num_tokens_from_messages(
        self, messages: list[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Tokens of the prompt these messages become, the safety prompt and the template's marks included.

        Raises:
            ConfigError: when tools are given.
        """
        if tools:
            raise ConfigError("Expected no tools, found some; this chat model does not call tools yet.")
        return self._engine().count_tokens(to_hub_messages(messages))

    def get_token_ids(self, text: str) -> list[int]:
        """The tokens of a text as it stands, by the model's own tokenizer."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        encode = getattr(self._engine(), "encode", None)
        return list(encode(text)) if encode is not None else super().get_token_ids(text)

    # From a call to a request

    def _engine(self) -> Engine:
        return self.engine if self.engine is not None else self.loader.load(self._choice)

    async def _aengine(self) -> Engine:
        ready = self.engine if self.engine is not None else self.loader.loaded(self._choice)
        return ready if ready is not None else await asyncio.to_thread(self._engine)

    def _sampling(self, stop: list[str] | None, given: dict[str, Any]) -> Sampling:
        settings = {name: _or(given.get(name), getattr(self, name)) for name in _SAMPLING}
        return Sampling(**settings, stop=tuple(_or(stop, self.stop) or ()))

    def _request(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, given: dict[str, Any]
    ) -> ChatRequest:
        model = given.get("model")
        if model is not None and model != self._name:
            raise ConfigError(
                f"Expected calls for the model {self._name!r}, found one for {model!r}; make another "
                "ChatDoctor for it."
            )
        # LangChain leaves `stream` among the arguments when a caller asks for it.
        check_known("call", given, (*_SAMPLING, "stop", "stream", "model"))
        return ChatRequest(to_hub_messages(messages), self._sampling(stop, given))

    def _result(self, engine: Engine, reply: ChatReply) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=to_ai_message(reply, engine.describe()))])

    # The four ways to answer

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request, seat = self._request(messages, stop, kwargs), seat_of(self)
        if seat is not None:
            reply = seat.take(request).result()
            return self._result(self._engine(), reply)
        engine = self._engine()
        return self._result(engine, engine.generate(request))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        request, seat = self._request(messages, stop, kwargs), seat_of(self)
        if seat is not None:
            reply = await asyncio.wrap_future(seat.take(request))
            return self._result(await self._aengine(), reply)
        engine = await self._aengine()
        return self._result(engine, await engine.agenerate(request))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        request, seat = self._request(messages, stop, kwargs), seat_of(self)
        if seat is not None:
            seat.leave()
        engine = self._engine()
        info = engine.describe()
        deltas = engine.stream(request)
        try:
            for delta in deltas:
                yield ChatGenerationChunk(message=to_ai_chunk(delta, info))
        finally:
            _close(deltas)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        request, seat = self._request(messages, stop, kwargs), seat_of(self)
        if seat is not None:
            seat.leave()
        engine = await self._aengine()
        info = engine.describe()
        deltas = engine.astream(request)
        try:
            async for delta in deltas:
                yield ChatGenerationChunk(message=to_ai_chunk(delta, info))
        finally:
            await _aclose(deltas)

    # Batches

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """The answers to several inputs, computed together; each input keeps a run of its own.

        `max_concurrency` in the config limits how many are computed together.
        """
        configs = get_config_list(config, len(inputs)) if inputs else []
        outcomes: list[Any] = []
        for part in parts_of(configs):
            calls = [partial(self.invoke, inputs[at], configs[at], **kwargs) for at in part]
            outcomes += batch_together(self, calls, self._compute)
            raise_first(outcomes, return_exceptions)
        return outcomes

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`batch`, without blocking the event loop."""
        configs = get_config_list(config, len(inputs)) if inputs else []
        outcomes: list[Any] = []
        for part in parts_of(configs):
            calls = [partial(self.ainvoke, inputs[at], configs[at], **kwargs) for at in part]
            outcomes += await abatch_together(self, calls, self._acompute)
            raise_first(outcomes, return_exceptions)
        return outcomes

    def _compute(self, requests: list[ChatRequest]) -> list[ChatReply | Exception]:
        return self._engine().generate_batch(requests, return_exceptions=True)

    async def _acompute(self, requests: list[ChatRequest]) -> list[ChatReply | Exception]:
        return await (await self._aengine()).agenerate_batch(requests, return_exceptions=True)


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value


def _close(stream: Any) -> None:
    if hasattr(stream, "close"):
        stream.close()


async def _aclose(stream: Any) -> None:
    if hasattr(stream, "aclose"):
        await stream.aclose()
