"""`LocalEngine`: answers in this process, with transformers and peft."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import AsyncGenerator, Generator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

from chatdoctor_hub.errors import ChatDoctorError, ConfigError, GenerationError
from chatdoctor_hub.inference.decoding import Decoder, Row
from chatdoctor_hub.inference.engine import as_pair
from chatdoctor_hub.inference.loading import load_parts, pick_device, pick_dtype, resolve_parts
from chatdoctor_hub.inference.prompting import Prompter
from chatdoctor_hub.inference.traits import check_generates, context_length_of, end_tokens_of
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, Form
from chatdoctor_hub.models import first_line, require_extra
from chatdoctor_hub.prompts import PromptPair

if TYPE_CHECKING:
    from os import PathLike

    import torch

__all__ = ["LocalEngine"]


class LocalEngine:
    """An engine in this process: a release of this library, an adapter, or any causal language model.

    One object may be used from several threads and tasks: they take turns at the model, a token at a
    time. Follows the `Engine` protocol.

    Args:
        model: a release folder, a folder of a model or adapter, or the Hub id of one of these; files on
            this machine come first.
        prompt: a pair or its id; the release's own by default, else "chatdoctor@1".
        device: "cpu", "cuda", "cuda:1", "mps"; the best there is by default.
        dtype: "float32", "bfloat16" or "float16"; by default what suits the device (float32 on a CPU).
        revision: branch, tag or commit of a Hub id.
        max_batch_size: requests computed together; more than that go in several batches.

    Raises:
        ModelNotFoundError: when there is no such model, neither here nor on the Hub.
        ModelFormatError: when its files are not those of a causal language model with a tokenizer.
        ReleaseFormatError, PromptDigestError: when a release cannot be trusted.
        MissingExtraError: when torch, transformers or peft is not installed.
    """

    def __init__(
        self,
        model: str | PathLike[str],
        *,
        prompt: str | PromptPair | None = None,
        device: str | torch.device | None = None,
        dtype: str | torch.dtype | None = None,
        revision: str | None = None,
        max_batch_size: int = 64,
    ) -> None:
        parts = resolve_parts(model, prompt=prompt, revision=revision)
        require_extra("torch", "transformers", extra="local")
        picked = pick_device(device)
        loaded = load_parts(parts, picked, pick_dtype(dtype, picked))
        self._settle(
            loaded.model, loaded.tokenizer, parts.pair, str(model), parts.fingerprint, max_batch_size
        )

    @classmethod
    def of(
        cls,
        model: Any,
        tokenizer: Any,
        prompt: str | PromptPair | None = None,
        *,
        name: str | None = None,
        max_batch_size: int = 64,
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
        """
        require_extra("torch", "transformers", extra="local")
        called = name or str(getattr(model.config, "name_or_path", "") or "in-memory")
        engine = cls.__new__(cls)
        engine._settle(model, tokenizer, as_pair(prompt), called, uuid.uuid4().hex, max_batch_size)
        return engine

    def _settle(
        self, model: Any, tokenizer: Any, pair: PromptPair, name: str, fingerprint: str, max_batch_size: int
    ) -> None:
        check_generates(model, name)
        limit = context_length_of(model, tokenizer)
        self._model: Any = model
        self._prompter = Prompter(tokenizer, pair, name, limit, end_tokens_of(model, tokenizer))
        if max_batch_size < 1:
            raise ConfigError(f"Expected max_batch_size to be at least 1, found {max_batch_size}.")
        self._max_batch_size = max_batch_size
        self._lock = threading.Lock()
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
        )

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
        return self.generate_batch([request])[0]

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
        work = self._prepare(requests, return_exceptions)
        for batch in self._batches(work):
            decoder = self._decoder(batch)
            try:
                while decoder.active:
                    self._step(decoder)
            except GenerationError as error:
                work = _failed(work, batch, error, return_exceptions)
        return self._replies(work)

    def stream(self, request: ChatRequest) -> Generator[ChatDelta, None, None]:
        """The answer in pieces; closing the generator, or leaving it alone, stops the generation."""
        row = self._row(request)
        return self._pieces(row, self._decoder([row]))

    def _pieces(self, row: Row, decoder: Decoder) -> Generator[ChatDelta, None, None]:
        while decoder.active:
            for _, delta in self._step(decoder):
                if delta.text or delta.reasoning or delta.tool_calls:
                    yield delta
        yield row.last_delta()

    async def agenerate(self, request: ChatRequest) -> ChatReply:
        """`generate`, each token in a worker thread; cancelling stops at the next token."""
        return (await self.agenerate_batch([request]))[0]

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
        """`generate_batch`, each token in a worker thread; cancelling stops at the next token."""
        work = await asyncio.to_thread(self._prepare, requests, return_exceptions)
        for batch in self._batches(work):
            decoder = self._decoder(batch)
            try:
                while decoder.active:
                    await asyncio.to_thread(self._step, decoder)
            except GenerationError as error:
                work = _failed(work, batch, error, return_exceptions)
        return self._replies(work)

    async def astream(self, request: ChatRequest) -> AsyncGenerator[ChatDelta, None]:
        """`stream`, each token in a worker thread; cancelling or closing stops at the next token."""
        row = await asyncio.to_thread(self._row, request)
        decoder = self._decoder([row])
        while decoder.active:
            for _, delta in await asyncio.to_thread(self._step, decoder):
                if delta.text or delta.reasoning or delta.tool_calls:
                    yield delta
        yield row.last_delta()

    def close(self) -> None:
        """Let go of the model; generations under way fail at their next token."""
        with self._lock:
            self._model = None

    async def aclose(self) -> None:
        """`close`, once the token that is being computed is done."""
        await asyncio.to_thread(self.close)

    def _prepare(self, requests: Sequence[ChatRequest], keep_errors: bool) -> list[Row | Exception]:
        return [self._row_or_error(request) if keep_errors else self._row(request) for request in requests]

    def _row_or_error(self, request: ChatRequest) -> Row | Exception:
        try:
            return self._row(request)
        except ChatDoctorError as error:
            return error

    def _row(self, request: ChatRequest) -> Row:
        self._check_open()
        if request.adapter is not None:
            raise ConfigError(
                f"{self._info.model}: expected no adapter by name, since this engine has only what it was made "
                f"with, found {request.adapter!r}; leave it out."
            )
        return self._prompter.row(request)

    def _batches(self, work: Sequence[Row | Exception]) -> Iterator[list[Row]]:
        """Rows of about the same length together, so that little of a batch is padding."""
        rows = sorted((row for row in work if isinstance(row, Row)), key=lambda row: len(row.prompt))
        for start in range(0, len(rows), self._max_batch_size):
            yield rows[start : start + self._max_batch_size]

    def _decoder(self, rows: Sequence[Row]) -> Decoder:
        return Decoder(self._model, rows, self._prompter.padding, self._prompter.spell)

    def _step(self, decoder: Decoder) -> list[tuple[Row, ChatDelta]]:
        import torch

        with self._lock:
            self._check_open()
            if self._model.training:
                self._model.eval()
            try:
                with torch.inference_mode():
                    return decoder.step()
            except ChatDoctorError:
                raise
            except Exception as error:
                raise GenerationError(
                    f"{self._info.model}: expected scores for the next token, found that the model failed "
                    f"({first_line(error)}); see the error it was raised from."
                ) from error

    def _replies(self, work: Sequence[Row | Exception]) -> list[ChatReply | Exception]:
        return [row.reply(self._info.model) if isinstance(row, Row) else row for row in work]

    def _check_open(self) -> None:
        if self._model is None:
            raise GenerationError(
                f"{self._info.model}: expected an open engine, found it closed; make a new one."
            )


def _failed(
    work: list[Row | Exception], batch: Sequence[Row], error: GenerationError, keep_errors: bool
) -> list[Row | Exception]:
    """The work with the rows of a batch that failed replaced by the error, or the error raised."""
    if not keep_errors:
        raise error
    return [error if any(row is failed for failed in batch) else row for row in work]
