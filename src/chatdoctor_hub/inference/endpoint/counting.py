"""Counting the tokens of a prompt, by the server's own template and tokenizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chatdoctor_hub.inference.endpoint.calls import Answer, Call, Program
from chatdoctor_hub.inference.endpoint.faults import unreadable

__all__ = ["CHAT", "count"]

CHAT = "/v1/chat/completions"


def count(kind: str, payload: Mapping[str, Any], private: tuple[str, ...], where: str) -> Program[int]:
    """Tokens of a prompt.

    A server that counts only while it answers is asked for one token.

    Args:
        kind: the route, as the table of dialects names it.
        payload: the body of the request to answer.
        private: texts of the conversation.
        where: the address, for messages.
    """
    asked = {name: payload[name] for name in ("model", "messages", "tools", "tool_choice") if name in payload}
    found: Any = None
    if kind == "chat_tokenize":
        answer: Answer = yield Call("/chat_tokenize", asked, private)
        found = _size(answer.body, "tokenize_response")
    elif kind == "tokenize":
        answer = yield Call("/tokenize", {**asked, "add_generation_prompt": True}, private, lenient=True)
        found = answer.body.get("count") if isinstance(answer.body, Mapping) else None
    elif kind == "apply_template":
        answer = yield Call("/apply-template", asked, private, lenient=True)
        prompt = answer.body.get("prompt") if isinstance(answer.body, Mapping) else None
        if isinstance(prompt, str):
            text = {"content": prompt, "add_special": True, "parse_special": True}
            answer = yield Call("/tokenize", text, private, lenient=True)
            found = _size(answer.body, "tokens")
    if not isinstance(found, int):
        answer = yield Call(CHAT, {**payload, "max_tokens": 1, "stream": False}, private)
        usage = answer.body.get("usage") if isinstance(answer.body, Mapping) else None
        found = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
    if not isinstance(found, int):
        raise unreadable(where, "no count of tokens")
    return found


def _size(body: Any, name: str) -> int | None:
    items = body.get(name) if isinstance(body, Mapping) else None
    return len(items) if isinstance(items, list) else None
