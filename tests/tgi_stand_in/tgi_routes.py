"""What TGI does with the body of a request, route by route."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment
from starlette.responses import JSONResponse, Response, StreamingResponse
from tgi_answering import Answering, token_events, up_to
from tgi_rules import Refused, check_chat, check_generate, invalid, read_choice, read_grammar, read_message
from tgi_wording import BOS, rendered, tokens_of

from chatdoctor_hub.inference import ChatRequest, Engine, Sampling
from chatdoctor_hub.prompts import PromptPair

_EVENTS = "text/event-stream"
_ROOM = 100
"""Tokens of an answer where a request does not say how many."""


class Routes:
    """The routes that take a body; each gets the path and the body.

    Args:
        engine, model, adapters, max_input_tokens, max_total_tokens, baked: as `TgiStandIn`.

    Attributes:
        twice_begun: how many texts came with the token of the beginning written twice.
    """

    def __init__(
        self,
        engine: Engine,
        model: str,
        adapters: tuple[str, ...],
        max_input_tokens: int,
        max_total_tokens: int,
        baked: PromptPair | None,
    ) -> None:
        self.engine, self.model, self.adapters = engine, model, adapters
        self.max_input_tokens, self.max_total_tokens = max_input_tokens, max_total_tokens
        self.twice_begun = 0
        self._template = None if baked is None else Environment().from_string(baked.serving_template())
        self._rendered: dict[str, list[dict[str, Any]]] = {}

    def by_path(self) -> dict[str, Any]:
        """The handlers."""
        return {
            "/v1/chat/completions": self._chat,
            "/generate": self._generate,
            "/generate_stream": self._generate,
            "/chat_tokenize": self._chat_tokenize,
            "/tokenize": self._tokenize,
        }

    def prompt_of(self, messages: list[dict[str, Any]], tools: Sequence[Any] = ()) -> str:
        """The text that the model would continue."""
        if self._template is None:
            return rendered(messages, tools)
        return self._template.render(
            messages=messages, add_generation_prompt=True, bos_token=BOS, eos_token="</s>"
        )

    # Counting

    async def _chat_tokenize(self, path: str, body: Any) -> Response:
        check_chat(body)
        messages = _messages_of(body)
        text = self.prompt_of(messages, body.get("tools") or ())
        self._rendered[text] = messages
        return JSONResponse({"tokenize_response": tokens_of(text), "templated_text": text})

    async def _tokenize(self, path: str, body: Any) -> Response:
        check_generate(body)
        return JSONResponse(tokens_of(BOS + body["inputs"]))

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

    # Answering

    async def _chat(self, path: str, body: Any) -> Response:
        check_chat(body)
        messages = _messages_of(body)
        self._check_length(messages, body.get("max_tokens") or _ROOM)
        tools = body.get("tools") or []
        names = [tool["function"]["name"] for tool in tools]
        request = ChatRequest(
            tuple(messages),
            _sampling_of(body),
            tools=tuple(tools),
            tool_choice=read_choice(body.get("tool_choice"), names) if tools else "auto",
            response_schema=read_grammar(body.get("response_format"), "response_format"),
            adapter=self._check_adapter(body.get("model")),
            logprobs=(body.get("top_logprobs") or 0) if body.get("logprobs") else None,
        )
        with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
        answering = self._answering(request, tuple(body.get("stop") or ()), with_usage)
        if body.get("stream"):
            return StreamingResponse(answering.events(), media_type=_EVENTS)
        return JSONResponse(await answering.whole())

    def _answering(
        self, request: ChatRequest, stops: tuple[str, ...] = (), with_usage: bool = False
    ) -> Answering:
        return Answering(self.engine, self.model, request, stops, with_usage, self.max_input_tokens)

    async def _generate(self, path: str, body: Any) -> Response:
        check_generate(body)
        text, parameters = body["inputs"], body.get("parameters") or {}
        if text.startswith(BOS):
            self.twice_begun += 1
        messages = self._rendered.get(BOS + text.removeprefix(BOS)) or [{"role": "user", "content": text}]
        room = parameters.get("max_new_tokens") or _ROOM
        read = self._check_length(messages, room)
        self._check_adapter(parameters.get("adapter_id"))
        sampling = Sampling(
            temperature=parameters.get("temperature", 1.0) if parameters.get("do_sample") else 0.0,
            top_k=parameters.get("top_k") or 0,
            max_tokens=room,
            seed=parameters.get("seed"),
        )
        schema = read_grammar(parameters.get("grammar"), "grammar")
        request = ChatRequest(tuple(messages), sampling, response_schema=schema)
        reply = await self._answering(request).reply()
        found, stopped = up_to(reply.text, tuple(parameters.get("stop") or ()))
        reason = "stop_sequence" if stopped else {"length": "length"}.get(reply.finish_reason, "eos_token")
        tokens = [
            {"id": token["id"], "text": token["text"], "logprob": -0.5, "special": False}
            for token in tokens_of(found)
        ]
        details = {"finish_reason": reason, "generated_tokens": len(tokens), "seed": None}
        if path == "/generate":
            prefill = [{"id": 1, "text": "", "logprob": None}] * read
            details |= {"prefill": prefill, "tokens": tokens}
            return JSONResponse({"generated_text": found, "details": details})
        return StreamingResponse(
            token_events(tokens, found, {**details, "input_length": read}), media_type=_EVENTS
        )


def _messages_of(body: Any) -> list[dict[str, Any]]:
    return [read_message(message, f"messages[{at}]") for at, message in enumerate(body["messages"])]


def _sampling_of(body: Any) -> Sampling:
    """Left out, the temperature is 1; the presence penalty goes on as the repetition penalty, 2 higher."""
    penalty = body.get("presence_penalty")
    return Sampling(
        temperature=body.get("temperature", 1.0) or 0.0,
        top_p=body.get("top_p") or 1.0,
        repetition_penalty=1.0 if penalty is None else penalty + 2.0,
        frequency_penalty=body.get("frequency_penalty") or 0.0,
        max_tokens=body.get("max_tokens") or _ROOM,
        seed=body.get("seed"),
    )
