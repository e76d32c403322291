"""From a request to what goes over the wire, in the dialect of the server."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.endpoint.dialects import Dialect
from chatdoctor_hub.inference.types import ChatRequest

__all__ = ["chat_payload", "private_texts", "wire_messages"]

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object", "properties": {}}
_NEUTRAL = {"top_k": 0, "repetition_penalty": 1.0, "frequency_penalty": 0.0, "presence_penalty": 0.0}


def private_texts(messages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was said in a conversation, for `faults.told` to keep to itself; system messages are no secret."""
    for message in messages:
        if message.get("role") in ("system", "developer"):
            continue
        yield str(message.get("content") or "")
        for call in message.get("tool_calls") or ():
            yield str(call)


def chat_payload(
    request: ChatRequest,
    messages: Sequence[Mapping[str, Any]],
    dialect: Dialect,
    model: str,
    *,
    stream: bool = False,
) -> dict[str, Any]:
    """The body of a request to /v1/chat/completions.

    Args:
        request: what is asked.
        messages: its messages, with the prompt pair applied.
        dialect: of the server.
        model: what the server is to be asked for, where the request names no adapter.
        stream: whether the answer is to come in pieces.

    Raises:
        ConfigError: for what this kind of server would ignore or misread, all of it at once.
    """
    request = _in_reach(request, dialect)
    faults = list(_out_of_reach(request, dialect))
    if faults:
        raise ConfigError(
            f"Expected a request that {dialect.title} can answer, found {'; '.join(faults)}; leave that out, or use "
            "another server."
        )
    payload: dict[str, Any] = {
        "model": request.adapter or model,
        "messages": wire_messages(messages, dialect),
        **_sampling(request, dialect),
        **_tools(request, dialect),
    }
    if request.response_schema is not None:
        payload["response_format"] = _response_format(request.response_schema, dialect)
    if request.logprobs is not None:
        payload["logprobs"] = True
        if request.logprobs:
            payload["top_logprobs"] = request.logprobs
    payload["stream"] = stream
    if stream and dialect.usage_on_demand:
        payload["stream_options"] = {"include_usage": True}
    return payload


def _in_reach(request: ChatRequest, dialect: Dialect) -> ChatRequest:
    """The request with a tool choice that the server heeds, where another one comes to the same.

    That some call is required says of a single tool what its name says.
    """
    choice, known = request.tool_choice, dialect.choices
    if choice == "required" and choice not in known and "named" in known and len(request.tools) == 1:
        return replace(request, tool_choice=request.tool_names[0])
    if choice in request.tool_names and "named" not in known and "required" in known:
        only = tuple(tool for tool in request.tools if tool["function"]["name"] == choice)
        return replace(request, tools=only, tool_choice="required")
    return request


def _out_of_reach(request: ChatRequest, dialect: Dialect) -> Iterator[str]:
    """What of a request the server would not do."""
    sampling = request.sampling
    for name in ("top_k", "repetition_penalty"):
        known = name in dialect.fields or dialect.generation_config
        if getattr(sampling, name) != _NEUTRAL[name] and not known:
            yield f"{name}, which it does not know"
    for name in ("frequency_penalty", "presence_penalty"):
        if getattr(sampling, name) != _NEUTRAL[name] and name not in dialect.penalties:
            yield f"{name}, which it ignores or reads as another setting"
    if request.response_schema is not None and dialect.schemas is None:
        yield "a response schema, which it ignores"
    if request.logprobs is not None and not dialect.logprobs:
        yield "logprobs, which it does not report"
    if request.adapter is not None and not dialect.chooses_model:
        yield "the name of an adapter or of another model, which it ignores"
    choice = request.tool_choice
    kind = choice if choice in ("auto", "none", "required") else "named"
    if request.tools and kind not in dialect.choices:
        yield f"a tool_choice of {'one tool' if kind == 'named' else kind}, which it ignores"


def _sampling(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    sampling = request.sampling
    found: dict[str, Any] = {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        **dialect.always,
    }
    # TGI refuses a top_p of 1, which is its default.
    if sampling.top_p < 1:
        found["top_p"] = sampling.top_p
    if sampling.seed is not None:
        found["seed"] = sampling.seed
    if sampling.stop:
        found["stop"] = list(sampling.stop[: dialect.most_stops])
    for name in ("frequency_penalty", "presence_penalty"):
        if getattr(sampling, name) != _NEUTRAL[name]:
            found[name] = getattr(sampling, name)
    for name, wire in dialect.fields.items():
        value = getattr(sampling, name)
        if value != _NEUTRAL[name]:
            found[wire] = value - 2.0 if wire == "presence_penalty" else value
    if dialect.generation_config:
        found["generation_config"] = json.dumps(_generation_config(request))
    return found


def _generation_config(request: ChatRequest) -> dict[str, Any]:
    """As transformers calls them; without `do_sample` it stays greedy at any temperature."""
    sampling = request.sampling
    found: dict[str, Any] = {"max_new_tokens": sampling.max_tokens, "do_sample": sampling.temperature > 0}
    if sampling.temperature > 0:
        found |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    if sampling.repetition_penalty != 1:
        found["repetition_penalty"] = sampling.repetition_penalty
    return found


def _tools(request: ChatRequest, dialect: Dialect) -> dict[str, Any]:
    chooses = bool({"required", "named"} & dialect.choices)
    if not request.tools or (request.tool_choice == "none" and not chooses):
        return {}
    if request.response_schema is not None:
        return {}  # with a choice of "none": the schema is what counts
    tools = [
        {
            "type": "function",
            "function": {
                **tool["function"],
                # TGI refuses a function without them.
                "parameters": tool["function"].get("parameters") or _NO_PARAMETERS,
            },
        }
        for tool in request.tools
    ]
    choice: Any = request.tool_choice
    if choice not in ("auto", "none", "required"):
        choice = {"type": "function", "function": {"name": choice}}
    return {"tools": tools, "tool_choice": choice} if chooses else {"tools": tools}


def _response_format(schema: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    if dialect.schemas == "value":
        return {"type": "json_object", "value": dict(schema) or {"type": "object"}}
    if not schema:
        return {"type": "json_object"}
    if dialect.schemas == "schema":
        return {"type": "json_object", "schema": dict(schema)}
    name = "".join(
        letter for letter in str(schema.get("title") or "answer") if letter.isalnum() or letter in "_-"
    )
    return {"type": "json_schema", "json_schema": {"name": name[:64] or "answer", "schema": dict(schema)}}


def wire_messages(messages: Sequence[Mapping[str, Any]], dialect: Dialect) -> list[dict[str, Any]]:
    """Messages in the form of the Messages API: arguments of calls as JSON text, ids and names kept."""
    return [_wire_message(message, dialect) for message in messages]


def _wire_message(message: Mapping[str, Any], dialect: Dialect) -> dict[str, Any]:
    calls = message.get("tool_calls")
    found = {
        name: message[name]
        for name in ("role", "content", "name", "tool_call_id")
        if message.get(name) is not None
    }
    if not calls:
        return found
    found["tool_calls"] = [_wire_call(number, call) for number, call in enumerate(calls)]
    if not dialect.text_with_calls:
        # TGI reads a message with both as text alone.
        found.pop("content", None)
    return found


def _wire_call(number: int, call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    function = function if isinstance(function, Mapping) else call
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments if arguments is not None else {}, ensure_ascii=False)
    return {
        "id": str(call.get("id") or number),
        "type": "function",
        "function": {"name": str(function.get("name") or ""), "arguments": arguments},
    }
