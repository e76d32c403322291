"""`LocalEngine`: answers in this process, with transformers and peft."""

from __future__ import annotations

import asyncio
import uuid
import weakref
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, overload

from chatdoctor_hub.errors import ChatDoctorError, ConfigError
from chatdoctor_hub.inference.engine import as_pair
from chatdoctor_hub.inference.prompting import Prompter
from chatdoctor_hub.inference.scheduling import Scheduler, Ticket, apieces, pieces
from chatdoctor_hub.inference.traits import check_generates, context_length_of, end_tokens_of
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, Form, Quantization
from chatdoctor_hub.inference.weights import (
    AdaptedModels,
    check_quantization,
    load_models,
    pick_device,
    pick_dtype,
    plan_models,
)
from chatdoctor_hub.models import require_extra
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from os import PathLike

    import torch

__all__ = ["LocalEngine"]


class LocalEngine:
    """An engine in this process: a release of this library, an adapter, or any causal language model.

    One object may be used from several threads and tasks: what they ask at the same time is answered together,
    a forward pass a token for all of it, and each request keeps its own sampling, stops, seed and grammar. Greedy
    text is the same alone and in any company. Follows the `Engine` protocol.

    Args:
        model: a release folder, a folder of a model or adapter, or the Hub id of one of these; files on
            this machine come first.
        prompt: a pair or its id; the release's own by default, else "chatdoctor@1".
        device: "cpu", "cuda", "cuda:1", "mps"; the best there is by default.
        dtype: "float32", "bfloat16" or "float16"; by default what suits the device (float32 on a CPU).
        revision: branch, tag or commit of a Hub id.
        adapters: adapters for the same base by name, each a folder or a Hub id, which may end in "@" and a
            revision; a request chooses with `ChatRequest.adapter`: a name of these, "" for the bare base, None for
            `model` as it was given. All are loaded over one copy of the base, and served with one prompt pair:
            releases with different pairs need `prompt`.
        quantization: "4bit" (NF4) or "8bit" for a base in less memory, by bitsandbytes.
        max_batch_size: requests computed together; others wait until one is done.
        prefix_cache: keep what the model makes of the beginning that all prompts share (safety prompt, instruction,
            tools), so that it is computed once.

    Raises:
        ModelNotFoundError: when there is no such model, neither here nor on the Hub.
        ModelFormatError: when its files are not those of a causal language model with a tokenizer, or an
            adapter's do not fit it.
        ReleaseFormatError, PromptDigestError: when a release cannot be trusted.
        ConfigError: for an adapter of another base or another prompt pair, or a device, dtype or quantization
            that is not to be had here.
        MissingExtraError: when torch, transformers, peft or bitsandbytes is not installed.
    """

    _info: EngineInfo

    def __init__(
        self,
        model: str | PathLike[str],
        *,
        prompt: str | PromptPair | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        adapters: Mapping[str, str | PathLike[str]] | None = None,
        quantization: Quantization | None = None,
        max_batch_size: int = 64,
        prefix_cache: bool = True,
    ) -> None:
        plan = plan_models(model, adapters, prompt=prompt, revision=revision)
        require_extra("torch", "transformers", extra="local")
        picked = pick_device(device)
        check_quantization(quantization, picked)
        loaded = load_models(plan, picked, pick_dtype(dtype, picked, quantization), quantization)
        fingerprint = plan.fingerprint(quantization)
        self._settle(loaded.models, loaded.tokenizer, plan.pair, plan.name, fingerprint)
        self._begin(max_batch_size, prefix_cache)
        self._info = replace(self._info, quantization=quantization, revision=plan.revision)

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        prompt: str | PromptPair | None = None,
        *,
        name: str | None = None,
        max_batch_size: int = 64,
        prefix_cache: bool = True,
    ) -> LocalEngine:
        """An engine around a model and a tokenizer that are already in memory.

        The model stays where it is, in the dtype it has; it is put in evaluation mode. The tokenizer is
        not changed.

        Args:
            model: a causal language model of transformers, with or without adapters of peft.
            tokenizer: its tokenizer.
            prompt: a pair or its id; "chatdoctor@1" by default.
            name: what to call it in replies; by default the name the model was loaded by.
            max_batch_size: requests computed together.
            prefix_cache: compute the beginning that all prompts share once.
        """
        require_extra("torch", "transformers", extra="local")
        called = name or str(getattr(model.config, "name_or_path", "") or "in-memory")
        engine = cls.__new__(cls)
        models = AdaptedModels.of(model, called)
        engine._settle(models, tokenizer, as_pair(prompt), called, uuid.uuid4().hex)
        engine._begin(max_batch_size, prefix_cache)
        return engine

    def _settle(
        self, models: AdaptedModels, tokenizer: Any, pair: PromptPair, name: str, fingerprint: str
    ) -> None:
        model = models.model(models.default)
        check_generates(model, name)
        limit = context_length_of(model, tokenizer)
        self._models: AdaptedModels | None = models
        self._prompter = Prompter(tokenizer, pair, name, limit, end_tokens_of(model, tokenizer))
        weight = next(model.parameters())
        self._info = EngineInfo(
            engine=type(self).__name__,
            model=name,
            prompt=pair.id,
            serving_sha256=pair.serving_sha256,
            device=str(weight.device),
            dtype=str(weight.dtype).removeprefix("torch."),
            context_length=limit,
            fingerprint=fingerprint,
            adapters=models.names,
            base=models.base,
        )

    def _begin(self, max_batch_size: int, prefix_cache: bool) -> None:
        """Have a scheduler, which ends when the engine is forgotten."""
        if max_batch_size < 1:
            raise ConfigError(f"Expected max_batch_size to be at least 1, found {max_batch_size}.")
        assert self._models is not None
        self._scheduler = Scheduler(
            self._models,
            self._prompter.padding,
            self._prompter.spell,
            name=self._info.model,
            seats=max_batch_size,
            prefix_cache=prefix_cache,
        )
        weakref.finalize(self, self._scheduler.close).atexit = False

    @property
    def prompt(self) -> PromptPair:
        """The prompt pair that is applied."""
        return self._prompter.pair

    def describe(self) -> EngineInfo:
        """What this engine is and runs on."""
        return self._info

    def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        form: Form = "serving",
    ) -> int:
        """Tokens of the prompt that these messages and tools become, in the given form."""
        request = ChatRequest(messages=tuple(messages), tools=tuple(tools), form=form)
        return len(self._prompter.encode(request))

    def encode(self, text: str) -> list[int]:
        """The tokens of a text as it stands, without any prompt or template."""
        return self._prompter.encode_text(text)

    def generate(self, request: ChatRequest) -> ChatReply:
        """The whole answer to one request."""
        with self._scheduler.expecting():
            ticket = self._ticket(request)
            self._scheduler.submit([ticket])
        return ticket.wait()

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    def generate_batch(self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False) -> Any:
        """The answers to several requests, in their order; one forward pass a token for all of them."""
        work = self._tickets(requests, return_exceptions)
        tickets = [item for item in work if isinstance(item, Ticket)]
        self._scheduler.submit(tickets)
        try:
            return [_outcome(item, return_exceptions) if isinstance(item, Ticket) else item for item in work]
        finally:
            for ticket in tickets:
                ticket.leave()

    def stream(self, request: ChatRequest) -> Generator[ChatDelta, None, None]:
        """The answer in pieces; closing the generator, or leaving it alone, stops the generation.

        The generation begins with the first piece and then does not wait for its reader.
        """
        return self._pieces(self._ticket(request))

    def _pieces(self, ticket: Ticket) -> Generator[ChatDelta, None, None]:
        """A generator that keeps the engine, which would else end its scheduler when nobody else holds it."""
        yield from pieces(self._scheduler, ticket)

    async def agenerate(self, request: ChatRequest) -> ChatReply:
        """`generate`, without blocking the event loop; cancelling stops at the next token."""
        with self._scheduler.expecting():
            ticket = await asyncio.to_thread(self._ticket, request)
            self._scheduler.submit([ticket])
        return await asyncio.wrap_future(ticket.future)

    @overload
    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False
    ) -> Any:
        """`generate_batch`, without blocking the event loop; cancelling stops at the next token."""
        work = await asyncio.to_thread(self._tickets, requests, return_exceptions)
        tickets = [item for item in work if isinstance(item, Ticket)]
        self._scheduler.submit(tickets)
        waiting = [asyncio.wrap_future(ticket.future) for ticket in tickets]
        try:
            replies = iter(await asyncio.gather(*waiting, return_exceptions=return_exceptions))
        finally:
            for ticket in tickets:
                ticket.leave()
        return [next(replies) if isinstance(item, Ticket) else item for item in work]

    def astream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """`stream`, without blocking the event loop; cancelling or closing stops at the next token."""
        return apieces(self._scheduler, partial(self._ticket, request))

    def close(self) -> None:
        """Let go of the model; generations under way fail at their next token."""
        self._models = None
        self._scheduler.close()

    async def aclose(self) -> None:
        """`close`, which waits for nothing."""
        self.close()

    def _tickets(self, requests: Sequence[ChatRequest], keep_errors: bool) -> list[Ticket | Exception]:
        if not keep_errors:
            return [self._ticket(request) for request in requests]
        work: list[Ticket | Exception] = []
        for request in requests:
            try:
                work.append(self._ticket(request))
            except ChatDoctorError as error:
                work.append(error)
        return work

    def _ticket(self, request: ChatRequest) -> Ticket:
        models = self._models
        if models is None:
            raise self._scheduler.closing()
        key = models.check(request.adapter)
        return Ticket(self._prompter.row(request, models.virtual(key)), models.called(key), key)


def _outcome(ticket: Ticket, keep_errors: bool) -> ChatReply | Exception:
    try:
        return ticket.wait()
    except Exception as error:
        if not keep_errors:
            raise
        return error
