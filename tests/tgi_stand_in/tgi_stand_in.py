"""A stand-in for a server of Text Generation Inference, over loopback: its rules, an engine's answers.

with TgiStandIn(ScriptedEngine("Rest.")) as tgi:
    EndpointEngine(tgi.url).generate(request)
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import uvicorn
from jinja2 import Environment
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from tgi_rules import Refused, check_chat, check_generate, invalid, read_choice, read_grammar, read_message
from tgi_wording import (
    BOS,
    chunk,
    completion,
    event,
    logprobs,
    rendered,
    tokens_of,
    tool_call,
    tool_pieces,
    usage,
    usage_chunk,
)

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.inference import ChatDelta, ChatReply, ChatRequest, Engine, Sampling
from chatdoctor_hub.prompts import PromptPair


class TgiStandIn:
    """Serves what an engine answers in the manner of TGI.

    Args:
        engine: answers; it applies its own prompt pair, as a release's template does.
        model: the id of what is served.
        max_input_tokens: a longer prompt (in words) is refused.
        max_total_tokens: a prompt and the room for its answer that are longer together are refused.
        max_concurrent_requests: more than these are refused with 429.
        api_key: a token that requests must carry.
        adapters: ids of adapters that `model` may name.
        baked: serve a release of this pair: its chat template, with the serving form in it, renders the prompts.

    Attributes:
        requests: (path, body) of every request with a body, in their order.
        headers: of every request.
        most_at_once: how many requests were on their way together.
        twice_begun: how many texts came with the token of the beginning written twice.
        failing: what to answer the next requests with, one entry a request: a `Refused`, or a response.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: str = "org/tiny-doctor",
        max_input_tokens: int = 4000,
        max_total_tokens: int = 8000,
        max_concurrent_requests: int = 10_000,
        api_key: str | None = None,
        adapters: tuple[str, ...] = (),
        baked: PromptPair | None = None,
    ) -> None:
        self._template = None if baked is None else Environment().from_string(baked.serving_template())
        self.engine, self.model, self.adapters = engine, model, adapters
        self.max_input_tokens, self.max_total_tokens = max_input_tokens, max_total_tokens
        self.max_concurrent_requests = max_concurrent_requests
        self.api_key = api_key
        self.requests: list[tuple[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.failing: list[Any] = []
        self.most_at_once = self._at_once = self.twice_begun = 0
        self._rendered: dict[str, list[dict[str, Any]]] = {}
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        posts = {
            "/v1/chat/completions": self._chat,
            "/generate": self._generate,
            "/generate_stream": self._generate,
            "/chat_tokenize": self._chat_tokenize,
            "/tokenize": self._tokenize,
        }
        routes = [Route(path, self._guarded(handler), methods=["POST"]) for path, handler in posts.items()]
        routes += [
            Route("/info", self._info),
            Route("/health", lambda request: Response()),
            Route("/v1/models", self._models),
        ]
        self._server = uvicorn.Server(
            uvicorn.Config(
                Starlette(routes=routes), log_level="critical", access_log=False, timeout_keep_alive=30
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self) -> TgiStandIn:
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            assert time.monotonic() < until, "the stand-in does not start"
            time.sleep(0.005)
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(10)
        self._socket.close()

    @property
    def chats(self) -> list[Any]:
        """The bodies of the requests for an answer."""
        return [body for path, body in self.requests if path == "/v1/chat/completions"]

    def _guarded(self, handler: Any) -> Any:
        async def guarded(request: Request) -> Response:
            self.headers.append(dict(request.headers))
            if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
                return Response(status_code=401)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            try:
                if self._at_once > self.max_concurrent_requests:
                    raise Refused(429, "Model is overloaded", "overloaded")
                return await self._answered(handler, request)
            except Refused as refused:
                if refused.error_type is None:
                    return PlainTextResponse(refused.error, refused.status)
                return JSONResponse(
                    {"error": refused.error, "error_type": refused.error_type}, refused.status
                )
            finally:
                self._at_once -= 1

        return guarded

    async def _answered(self, handler: Any, request: Request) -> Response:
        body = json.loads(await request.body())
        self.requests.append((request.url.path, body))
        if self.failing:
            failing = self.failing.pop(0)
            if isinstance(failing, Response):
                return failing
            if failing is not None:
                raise failing
        answer: Response = await handler(request.url.path, body)
        return answer

    # What is there

    def _info(self, request: Request) -> Response:
        return JSONResponse(
            {
                "model_id": self.model,
                "model_sha": "0" * 40,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": self.max_concurrent_requests,
                "max_best_of": 2,
                "max_stop_sequences": 4,
                "max_input_tokens": self.max_input_tokens,
                "max_total_tokens": self.max_total_tokens,
                "validation_workers": 2,
                "max_client_batch_size": 4,
                "router": "text-generation-router",
                "version": "3.3.6",
                "sha": None,
                "docker_label": None,
            }
        )

    def _models(self, request: Request) -> Response:
        one = {"id": self.model, "object": "model", "created": 0, "owned_by": self.model}
        return JSONResponse({"object": "list", "data": [one]})

    async def _chat_tokenize(self, path: str, body: Any) -> Response:
        check_chat(body)
        messages = [read_message(message, f"messages[{at}]") for at, message in enumerate(body["messages"])]
        text = self.prompt_of(messages, body.get("tools") or ())
        self._rendered[text] = messages
        return JSONResponse({"tokenize_response": tokens_of(text), "templated_text": text})

    async def _tokenize(self, path: str, body: Any) -> Response:
        check_generate(body)
        return JSONResponse(tokens_of(BOS + body["inputs"]))

    def prompt_of(self, messages: list[dict[str, Any]], tools: Sequence[Any] = ()) -> str:
        """The text that the model would continue."""
        if self._template is None:
            return rendered(messages, tools)
        return self._template.render(
            messages=messages, add_generation_prompt=True, bos_token=BOS, eos_token="</s>"
        )

    # Answers

    def _check_adapter(self, model: str | None) -> str | None:
        if model in (None, "tgi", self.model):
            return None
        if model not in self.adapters:
            raise Refused(404, f"Adapter with id {model} not found", "not_found")
        return model

    def _check_length(self, messages: list[dict[str, Any]], room: int) -> int:
        read = len(tokens_of(self.prompt_of(messages)))
        if read > self.max_input_tokens:
            raise invalid(f"`inputs` must have less than {self.max_input_tokens} tokens. Given: {read}")
        if read + room > self.max_total_tokens:
            raise invalid(
                f"`inputs` tokens + `max_new_tokens` must be <= {self.max_total_tokens}. Given: {read} `inputs` tokens "
                f"and {room} `max_new_tokens`"
            )
        return read

    async def _chat(self, path: str, body: Any) -> Response:
        check_chat(body)
        messages = [read_message(message, f"messages[{at}]") for at, message in enumerate(body["messages"])]
        room = body.get("max_tokens") or 100
        self._check_length(messages, room)
        tools = body.get("tools") or []
        choice = (
            read_choice(body.get("tool_choice"), [tool["function"]["name"] for tool in tools])
            if tools
            else "auto"
        )
        penalty = body.get("presence_penalty")
        request = ChatRequest(
            tuple(messages),
            Sampling(
                temperature=body.get("temperature", 1.0) or 0.0,
                top_p=body.get("top_p") or 1.0,
                repetition_penalty=1.0 if penalty is None else penalty + 2.0,
                frequency_penalty=body.get("frequency_penalty") or 0.0,
                max_tokens=room,
                seed=body.get("seed"),
            ),
            tools=tuple(tools),
            tool_choice=choice,
            response_schema=read_grammar(body.get("response_format"), "response_format"),
            adapter=self._check_adapter(body.get("model")),
            logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        )
        stops = tuple(body.get("stop") or ())
        uses_tools = bool(tools) and choice != "none"
        options = body.get("stream_options") or {}
        if not body.get("stream"):
            return JSONResponse(await self._whole(request, stops, uses_tools))
        return StreamingResponse(
            self._stream(request, stops, uses_tools, bool(options.get("include_usage"))),
            media_type="text/event-stream",
        )

    async def _whole(self, request: ChatRequest, stops: tuple[str, ...], uses_tools: bool) -> dict[str, Any]:
        reply = await self._reply(request)
        counts = usage(reply.usage.input_tokens, reply.usage.output_tokens)
        reason = "length" if reply.finish_reason == "length" else "stop"
        if uses_tools and (call := _call_in(reply, request.tool_choice)):
            # Never "tool_calls", and never more than one.
            return completion(self.model, {"tool_calls": [tool_call(*call)]}, reason, counts)
        text, stopped = _up_to(reply.text, stops)
        return completion(
            self.model,
            {"content": text},
            "stop_sequence" if stopped else reason,
            counts,
            logprobs(reply.logprobs),
        )

    async def _reply(self, request: ChatRequest) -> ChatReply:
        try:
            return await self.engine.agenerate(request)
        except ContextLengthError:
            raise invalid(f"`inputs` must have less than {self.max_input_tokens} tokens. Given: 0") from None

    async def _stream(
        self, request: ChatRequest, stops: tuple[str, ...], uses_tools: bool, with_usage: bool
    ) -> AsyncIterator[str]:
        if uses_tools:
            reply = await self.engine.agenerate(request)
            call = _call_in(reply, request.tool_choice)
            deltas = tool_pieces(*call) if call else [{"content": reply.text}]
            for number, delta in enumerate(deltas):
                yield event(chunk(self.model, delta, "stop" if number == len(deltas) - 1 else None))
            counts = usage(reply.usage.input_tokens, reply.usage.output_tokens)
        else:
            counts = {}
            async for found in self._words(request, stops):
                if isinstance(found, str):
                    yield found
                else:
                    counts = found
        if with_usage:
            yield event(usage_chunk(self.model, counts))
        yield "data: [DONE]\n\n"

    async def _words(
        self, request: ChatRequest, stops: tuple[str, ...]
    ) -> AsyncIterator[str | dict[str, int]]:
        """The events of a plain answer, and its usage as the last; the last token has the reason."""
        text, written, held = "", 0, None
        reason, counts = "stop", usage(0, 0)
        async with aclosing(self.engine.astream(request)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                if delta.finish_reason is not None:
                    reason = "length" if delta.finish_reason == "length" else "stop"
                    counts = (
                        usage(delta.usage.input_tokens, delta.usage.output_tokens) if delta.usage else counts
                    )
                    break
                cut, stopped = _up_to(text + delta.text, stops)
                new, text, written = cut[len(text) :], cut, written + 1
                if held is not None:
                    yield event(chunk(self.model, {"content": held.text}, None, logprobs(held.logprobs)))
                held = ChatDelta(new, logprobs=delta.logprobs)
                if stopped:
                    reason, counts = "stop_sequence", usage(0, written)
                    break
        held = held or ChatDelta("")
        yield event(chunk(self.model, {"content": held.text}, reason, logprobs(held.logprobs)))
        yield counts

    async def _generate(self, path: str, body: Any) -> Response:
        check_generate(body)
        text, parameters = body["inputs"], body.get("parameters") or {}
        if text.startswith(BOS):
            self.twice_begun += 1
        messages = self._rendered.get(BOS + text.removeprefix(BOS)) or [{"role": "user", "content": text}]
        read = self._check_length(messages, parameters.get("max_new_tokens") or 100)
        self._check_adapter(parameters.get("adapter_id"))
        sampling = Sampling(
            temperature=parameters.get("temperature", 1.0) if parameters.get("do_sample") else 0.0,
            top_k=parameters.get("top_k") or 0,
            max_tokens=parameters.get("max_new_tokens") or 100,
            seed=parameters.get("seed"),
        )
        reply = await self._reply(
            ChatRequest(
                tuple(messages), sampling, response_schema=read_grammar(parameters.get("grammar"), "grammar")
            )
        )
        found, stopped = _up_to(reply.text, tuple(parameters.get("stop") or ()))
        reason = "stop_sequence" if stopped else {"length": "length"}.get(reply.finish_reason, "eos_token")
        tokens = [
            {"id": token["id"], "text": token["text"], "logprob": -0.5, "special": False}
            for token in tokens_of(found)
        ]
        details = {"finish_reason": reason, "generated_tokens": len(tokens), "seed": None}
        if path == "/generate":
            prefill = [{"id": 1, "text": "", "logprob": None}] * read
            return JSONResponse(
                {"generated_text": found, "details": {**details, "prefill": prefill, "tokens": tokens}}
            )
        return StreamingResponse(
            _token_events(tokens, found, {**details, "input_length": read}), media_type="text/event-stream"
        )


async def _token_events(tokens: list[Any], text: str, details: Any) -> AsyncIterator[str]:
    for number, token in enumerate(tokens):
        last = number == len(tokens) - 1
        yield event(
            {
                "index": number + 1,
                "token": token,
                "generated_text": text if last else None,
                "details": details if last else None,
            }
        )
        await asyncio.sleep(0)


def _up_to(text: str, stops: tuple[str, ...]) -> tuple[str, bool]:
    """The text up to the first stop string, which stays in it."""
    ends = [at + len(stop) for stop in stops if (at := text.find(stop)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _call_in(reply: ChatReply, choice: str) -> tuple[str, Any] | None:
    """The one call in a reply: the engine's first, or the JSON that TGI's grammar makes a model write."""
    if reply.tool_calls:
        return reply.tool_calls[0].name, dict(reply.tool_calls[0].arguments)
    try:
        function = dict(json.loads(reply.text)["function"])
        name = function.pop("_name")
    except (ValueError, KeyError, TypeError):
        if choice == "auto":
            return None
        raise Refused(422, "Tool error: Failed to parse generated text", "tool_error") from None
    return None if name == "no_tool" else (name, function)
