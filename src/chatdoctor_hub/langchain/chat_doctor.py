"""`ChatDoctor`: a LangChain chat model over any engine."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from pydantic import ConfigDict, Field, InstanceOf, SecretStr

from chatdoctor_hub.inference.engine import Engine
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, Overflow, Quantization
from chatdoctor_hub.langchain.batched import BatchedModel
from chatdoctor_hub.langchain.batching import seat_of
from chatdoctor_hub.langchain.broken_calls import BrokenCalls
from chatdoctor_hub.langchain.calls import CALL, Call, settings_of, to_call
from chatdoctor_hub.langchain.errors import in_both_families
from chatdoctor_hub.langchain.loader import HOSTED, EngineLoader
from chatdoctor_hub.langchain.messages import to_ai_chunk, to_ai_message
from chatdoctor_hub.langchain.safety import OWN, read_safety, warn_without
from chatdoctor_hub.langchain.serialising import make_loadable
from chatdoctor_hub.langchain.settings import (
    check_construction,
    check_known,
    from_environment,
    in_one_sentence,
)
from chatdoctor_hub.langchain.tools import to_choice, to_tools
from chatdoctor_hub.prompts import PromptPair

__all__ = ["ChatDoctor"]


class ChatDoctor(BatchedModel):
    """A safe medical chat model for LangChain, over a release, a model, a server or any engine.

    The safety prompt of the release is applied by the engine on every path: invoke, stream, batch and
    their asynchronous twins, with tools and with structured output. `batch` computes all inputs together;
    closing a stream stops the generation. The weights are loaded at the first call, once.

        llm = ChatDoctor(model="runs/quickstart/release")
        llm.invoke("How long does a cold last?")
        ChatDoctor(base_url="http://localhost:8080").with_structured_output(Triage).invoke("My chest hurts.")

    Args:
        model: a release folder, a folder of a model or adapter, or the Hub id of one of these, which then runs
            in this process; "hf:org/name" for one that Hugging Face runs; with `base_url`, what the server
            calls it.
        base_url: address of a server (TGI, vLLM, llama.cpp, transformers serve, or another OpenAI-like one). With
            neither model nor engine, CHATDOCTOR_BASE_URL and, for it alone, CHATDOCTOR_API_KEY of the environment.
        engine: an engine instead, such as `LocalEngine.of(...)` or `ScriptedEngine(...)`.
        safety: the prompt pair to answer under, or its id; the release's own by default. None answers without
            a safety prompt: it warns once, and each answer is marked (`serving_sha256` is None).
        revision: branch, tag or commit of a Hub id.
        device, dtype: where and in which number type to compute; chosen by default.
        adapters: adapters for the model's base by name, each a folder or a Hub id (which may end in "@" and a
            revision), for a model in this process; all of them share one copy of the base in memory.
        quantization: "4bit" or "8bit", for a model in this process in less memory, by bitsandbytes.
        dialect, provider: kind of the server, and who of Hugging Face's providers runs the model; found out by
            default.
        api_key: token for the server; a model in this process needs none.
        timeout: seconds that an answer may take; no limit by default in this process, the engine's own for a
            server.
        chunk_timeout: seconds that a server's stream may be silent, before its first piece too; 60 by default.
        max_retries: further tries when a server is busy or out of reach; in this process there are none.
        adapter: which of the engine's adapters answers, "" for the bare base; the `model` of a call does the same
            for that call.
        temperature, top_p, top_k, repetition_penalty, frequency_penalty, presence_penalty, max_tokens, stop, seed:
            see `Sampling`; each can be given to a single call as well.
        logprobs, top_logprobs: report how likely each token was, and so many alternatives, in
            `response_metadata`.
        overflow: "drop_oldest" shortens a conversation that does not fit by its oldest whole turns.
        streaming: True answers `invoke` by streaming too, so that callbacks see each token.

    Raises:
        ConfigError: for an unknown argument (naming the near one), a setting out of range, or neither or
            both of `model` and `engine`. A model that does not exist is found out at the first call.
            All errors of calls are of LangChain's standard family too (`langchain_core.exceptions`).
    """

    # The schema is built with the first model, which keeps the import quick.
    model_config = ConfigDict(defer_build=True)

    model: str | None = None
    base_url: str | None = None
    engine: Engine | None = Field(default=None, exclude=True, repr=False)
    safety: str | InstanceOf[PromptPair] | None = Field(default=OWN, repr=False)
    revision: str | None = None
    device: str | None = None
    dtype: str | None = None
    adapters: dict[str, str] | None = None
    quantization: Quantization | None = None
    dialect: str | None = None
    provider: str | None = None
    api_key: SecretStr | None = None
    timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    chunk_timeout: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_retries: int | None = Field(default=None, ge=0)
    adapter: str | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    max_tokens: int = 256
    stop: list[str] | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    overflow: Overflow = "error"
    streaming: bool | None = None
    # Passed on to the copies LangChain makes, as all fields are; not for callers.
    loader: EngineLoader = Field(default_factory=EngineLoader, exclude=True, repr=False)

    if not TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None:
            settings |= from_environment(settings)
            check_construction(type(self), settings, HOSTED, OWN)
            if isinstance(settings.get("model"), os.PathLike):
                settings["model"] = os.fspath(settings["model"])
            if isinstance(settings.get("adapters"), Mapping):
                settings["adapters"] = {
                    name: os.fspath(place) if isinstance(place, os.PathLike) else place
                    for name, place in settings["adapters"].items()
                }
            if isinstance(settings.get("stop"), str):
                settings["stop"] = [settings["stop"]]
            if "safety" in settings:
                settings["safety"] = read_safety(settings["safety"])
                if settings["safety"] is None:
                    warn_without()
            with in_one_sentence(type(self)):
                super().__init__(**settings)
            settings_of(self, "", None, {})
            self.forget_unset_profile()

    # Tools and forms

    def bind_tools(
        self,
        tools: Sequence[Any],
        *,
        tool_choice: Any = None,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with tools that it may call.

        Args:
            tools: functions, LangChain tools, pydantic classes, TypedDicts, dictionaries; none at all is fine.
            tool_choice: "auto" (the default), "none", "any" or "required" or True (at least one), a tool's
                name, or a dictionary that says one of these.
            strict: close the schemas to further properties, and tell the server.
            **kwargs: further settings of calls, such as `temperature`.

        Raises:
            ConfigError: for what is no tool, a choice that does not exist, or an unknown setting.
        """
        with in_both_families():
            check_known("bind_tools", kwargs, (*CALL, "ls_structured_output_format"))
            converted = to_tools(tools, strict)
            choice = to_choice(tool_choice, converted)
        chosen = {"tool_choice": choice} if choice is not None else {}
        return self.bind(tools=converted, **chosen, **kwargs)

    def with_structured_output(
        self,
        schema: Any = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] = "json_schema",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The model with answers of a given form.

        Args:
            schema: a pydantic class (answers are its objects), a TypedDict or a JSON schema (answers are
                dictionaries); may be left out with "json_mode".
            method: the form of the whole text ("json_schema"), the arguments of a call ("function_calling"), or
                any JSON object ("json_mode": say in the prompt what it must hold).
            include_raw: answer {"raw": message, "parsed": …, "parsing_error": …} and raise nothing for an
                answer that cannot be read.
            strict: as `bind_tools`.
            **kwargs: further settings of calls.

        Raises:
            ConfigError: for another method, a schema that is none, or an unknown setting.
            OutputParserException: in a call, for an answer that was cut off or is not of that form.
            AnswerRefusedError: in a call, when the server says that the model declined.
        """
        from chatdoctor_hub.langchain.structured import structured

        with in_both_families():
            return structured(self, schema, method, include_raw, strict, kwargs)

    # From a call to a request

    def _call(
        self, messages: Sequence[BaseMessage], stop: list[str] | None, given: Mapping[str, Any]
    ) -> Call:
        return to_call(self, self._name, messages, stop, given)

    def _result(self, engine: Engine, call: Call, reply: ChatReply) -> ChatResult:
        message = to_ai_message(call.reply(reply), engine.describe(), call.request.form)
        return ChatResult(generations=[ChatGeneration(message=message)])

    # The four ways to answer

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with in_both_families():
            call, seat = self._call(messages, stop, kwargs), seat_of(self)
            if seat is not None:
                reply = seat.take(call.request).result()
                return self._result(self._engine(), call, reply)
            engine = self._engine()
            return self._result(engine, call, engine.generate(call.request))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        with in_both_families():
            call, seat = self._call(messages, stop, kwargs), seat_of(self)
            if seat is not None:
                reply = await asyncio.wrap_future(seat.take(call.request))
                return self._result(await self._aengine(), call, reply)
            engine = await self._aengine()
            return self._result(engine, call, await engine.agenerate(call.request))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        with in_both_families():
            call, seat = self._call(messages, stop, kwargs), seat_of(self)
            if seat is not None:
                seat.leave()
            engine = self._engine()
            to_chunk = self._to_chunk(engine, call)
            deltas = engine.stream(call.request)
            try:
                for delta in deltas:
                    yield ChatGenerationChunk(message=to_chunk(delta))
            finally:
                _close(deltas)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        with in_both_families():
            call, seat = self._call(messages, stop, kwargs), seat_of(self)
            if seat is not None:
                seat.leave()
            engine = await self._aengine()
            to_chunk = self._to_chunk(engine, call)
            deltas = engine.astream(call.request)
            try:
                async for delta in deltas:
                    yield ChatGenerationChunk(message=to_chunk(delta))
            finally:
                await _aclose(deltas)

    def _to_chunk(self, engine: Engine, call: Call) -> Callable[[ChatDelta], AIMessageChunk]:
        request, info, blocks = call.request, engine.describe(), self.output_version == "v1"
        model = info.base if request.adapter == "" else request.adapter
        made = partial(to_ai_chunk, info=info, form=request.form, model=model, blocks=blocks)
        calls = BrokenCalls()
        return lambda delta: made(calls.marked(call.delta(delta)))


def _close(stream: Any) -> None:
    if hasattr(stream, "close"):
        stream.close()


async def _aclose(stream: Any) -> None:
    if hasattr(stream, "aclose"):
        await stream.aclose()


make_loadable(ChatDoctor)
