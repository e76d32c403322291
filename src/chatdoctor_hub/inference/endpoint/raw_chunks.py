"""Pieces of TGI's /generate_stream, turned into those of the Messages API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["REASONS", "as_logprob", "chat_chunk"]

REASONS: Mapping[str, str] = {"eos_token": "stop", "stop_sequence": "stop", "length": "length"}


def as_logprob(token: Mapping[str, Any], top: Any) -> dict[str, Any]:
    """A token and its probability in the form of the Messages API."""
    return {
        "token": token.get("text"),
        "logprob": token.get("logprob"),
        "top_logprobs": [
            {"token": other.get("text"), "logprob": other.get("logprob")} for other in top or ()
        ],
    }


def chat_chunk(chunk: Mapping[str, Any]) -> dict[str, Any]:
    """A piece of /generate_stream in the form of the Messages API."""
    token = chunk.get("token")
    token = token if isinstance(token, Mapping) else {}
    details = chunk.get("details")
    found: dict[str, Any] = {
        "choices": [
            {
                "delta": {"content": "" if token.get("special") else token.get("text")},
                "finish_reason": None,
                "logprobs": {"content": [as_logprob(token, chunk.get("top_tokens"))]},
            }
        ]
    }
    if isinstance(details, Mapping):
        reason = str(details.get("finish_reason"))
        found["choices"][0]["finish_reason"] = REASONS.get(reason, "stop")
        found["usage"] = {
            "prompt_tokens": details.get("input_length"),
            "completion_tokens": details.get("generated_tokens"),
        }
    return found
