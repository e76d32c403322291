"""How TGI writes its answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from chatdoctor_hub.inference import TokenLogprob

BOS = "<s>"
_TOKEN = re.compile(r"<s>|\s*[^\s<]+|\s+|<")


def rendered(messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> str:
    """The prompt, by a template of the common kind."""
    turns = [
        f"<|{message['role']}|>\n{message['content'] or json.dumps(message.get('tool_calls'))}\n"
        for message in messages
    ]
    return BOS + "".join(turns) + (json.dumps(list(tools)) + "\n" if tools else "") + "<|assistant|>\n"


def tokens_of(text: str) -> list[dict[str, Any]]:
    """Words stand for tokens."""
    return [
        {"id": sum(map(ord, found[0])) % 32000, "text": found[0], "start": found.start(), "stop": found.end()}
        for found in _TOKEN.finditer(text)
    ]


def _head(model: str, kind: str) -> dict[str, Any]:
    return {
        "object": kind,
        "id": "",
        "created": int(time.time()),
        "model": model,
        "system_fingerprint": "3.3.6-stand-in",
    }


def usage(read: int, written: int) -> dict[str, int]:
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def logprobs(found: Sequence[TokenLogprob] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "content": [
            {
                "token": item.token,
                "logprob": item.logprob,
                "top_logprobs": [{"token": token, "logprob": value} for token, value in item.top],
            }
            for item in found
        ]
    }


def completion(
    model: str,
    message: dict[str, Any],
    reason: str,
    counts: dict[str, int],
    likely: dict[str, Any] | None = None,
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "message": {"role": "assistant", **message},
        "logprobs": likely,
        "finish_reason": reason,
    }
    return {**_head(model, "chat.completion"), "choices": [choice], "usage": counts}


def chunk(
    model: str, delta: dict[str, Any], reason: str | None = None, likely: dict[str, Any] | None = None
) -> dict[str, Any]:
    choice = {
        "index": 0,
        "delta": {"role": "assistant", **delta},
        "logprobs": likely,
        "finish_reason": reason,
    }
    return {**_head(model, "chat.completion.chunk"), "choices": [choice], "usage": None}


def usage_chunk(model: str, counts: dict[str, int]) -> dict[str, Any]:
    return {**_head(model, "chat.completion.chunk"), "choices": [], "usage": counts}


def tool_call(name: str, arguments: Any) -> dict[str, Any]:
    """The id is "0", whatever was called before."""
    written = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {
        "id": "0",
        "type": "function",
        "function": {"description": None, "name": name, "arguments": written},
    }


def tool_pieces(name: str, arguments: Any) -> list[dict[str, Any]]:
    """The deltas that a call comes in."""
    text = json.dumps(arguments)
    parts = [text[:1], *(text[at : at + 4] for at in range(1, len(text), 4))]
    return [
        {
            "tool_calls": [
                {
                    "index": 0,
                    "id": "0",
                    "type": "function",
                    "function": {"name": name if number == 0 else None, "arguments": part},
                }
            ]
        }
        for number, part in enumerate(parts)
    ]


def event(body: Any) -> str:
    return f"data:{json.dumps(body, separators=(',', ':'))}\n\n"
