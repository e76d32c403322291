"""TGI's own /generate and /generate_stream: for what its Messages API has no field for.

The server renders the messages by its own template (/chat_tokenize), so that the prompt is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from chatdoctor_hub.inference.endpoint.calls import Answer, Call, Program
from chatdoctor_hub.inference.endpoint.dialects import Dialect
from chatdoctor_hub.inference.endpoint.faults import unreadable
from chatdoctor_hub.inference.endpoint.probing import ServerInfo
from chatdoctor_hub.inference.endpoint.raw_chunks import REASONS, as_logprob
from chatdoctor_hub.inference.endpoint.replies import read_reply
from chatdoctor_hub.inference.endpoint.requests import wire_messages
from chatdoctor_hub.inference.types import ChatReply, ChatRequest

__all__ = ["raw_answer", "raw_call", "speaks_raw"]


def speaks_raw(request: ChatRequest, dialect: Dialect) -> bool:
    """Whether a request needs TGI's own routes: drawing from the top k, without tools."""
    calls_tools = bool(request.tools) and request.tool_choice != "none"
    return dialect.name == "tgi" and request.sampling.top_k > 0 and not calls_tools


def raw_call(
    request: ChatRequest,
    messages: Sequence[Mapping[str, Any]],
    server: ServerInfo,
    private: tuple[str, ...],
    stream: bool,
    where: str,
) -> Program[Call]:
    """The call that continues the text which these messages become.

    /generate puts the tokens in front that the tokenizer always begins with, which the template has written already:
    the server is asked what it makes of the text, and what would stand there twice is left out.
    """
    asked = {"messages": wire_messages(messages, server.dialect)}
    answer: Answer = yield Call("/chat_tokenize", asked, private)
    body = answer.body if isinstance(answer.body, Mapping) else {}
    text, meant = body.get("templated_text"), _ids(body.get("tokenize_response"))
    if not isinstance(text, str) or not meant:
        raise unreadable(where, "no rendering of the messages")
    answer = yield Call("/tokenize", {"inputs": text}, private)
    made = _ids(answer.body)
    if len(made) == len(meant) + 1 and made[1:] == meant:
        first = str(body["tokenize_response"][0].get("text") or "")
        text = text.removeprefix(first)
    return Call(
        "/generate_stream" if stream else "/generate",
        {"inputs": text, "parameters": _parameters(request)},
        private,
    )


def _ids(tokens: Any) -> list[Any]:
    return (
        [token.get("id") for token in tokens if isinstance(token, Mapping)]
        if isinstance(tokens, list)
        else []
    )


def _parameters(request: ChatRequest) -> dict[str, Any]:
    sampling = request.sampling
    found: dict[str, Any] = {
        "max_new_tokens": sampling.max_tokens,
        "do_sample": sampling.temperature > 0,
        "details": True,
        "return_full_text": False,
        "top_k": sampling.top_k,
    }
    optional = {
        "temperature": (sampling.temperature, 0.0),
        "top_p": (sampling.top_p, 1.0),
        "repetition_penalty": (sampling.repetition_penalty, 1.0),
        "frequency_penalty": (sampling.frequency_penalty, 0.0),
        "seed": (sampling.seed, None),
        "adapter_id": (request.adapter, None),
        "top_n_tokens": (request.logprobs or None, None),
    }
    found |= {name: value for name, (value, neutral) in optional.items() if value != neutral}
    if sampling.stop:
        found["stop"] = list(sampling.stop[:4])
    if request.response_schema is not None:
        found["grammar"] = {"type": "json", "value": dict(request.response_schema) or {"type": "object"}}
    return found


def raw_answer(
    body: Any, request: ChatRequest, server: ServerInfo, where: str, private: Sequence[str]
) -> ChatReply:
    """The reply in an answer of /generate."""
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, Mapping) or not isinstance(body.get("generated_text"), str):
        return read_reply(body, request, server.dialect, server.serves, where, private)
    details = body.get("details")
    details = details if isinstance(details, Mapping) else {}
    tokens = [token for token in details.get("tokens") or () if isinstance(token, Mapping)]
    tops = details.get("top_tokens") or [()] * len(tokens)
    as_chat = {
        "model": server.serves,
        "choices": [
            {
                "message": {"content": body["generated_text"]},
                "finish_reason": REASONS.get(str(details.get("finish_reason"))),
                "logprobs": {
                    "content": [as_logprob(token, top) for token, top in zip(tokens, tops, strict=False)]
                },
            }
        ],
        "usage": {
            "prompt_tokens": len(details.get("prefill") or ()),
            "completion_tokens": details.get("generated_tokens"),
        },
    }
    return read_reply(as_chat, request, server.dialect, server.serves, where, private)
