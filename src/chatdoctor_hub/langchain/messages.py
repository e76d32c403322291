"""LangChain's messages to the Hub's, and an engine's answers to LangChain's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import UsageMetadata

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.inference import ChatDelta, ChatReply, EngineInfo, Usage

__all__ = ["PROVIDER", "to_ai_chunk", "to_ai_message", "to_hub_messages"]

PROVIDER = "chatdoctor"

# What an AI message may hold besides its words: its calls are in `tool_calls`, its thoughts are not repeated.
_BESIDES_TEXT = ("reasoning", "thinking", "tool_call", "tool_use")


def to_hub_messages(messages: Sequence[BaseMessage]) -> tuple[dict[str, Any], ...]:
    """The messages in the Hub's format; text blocks are joined.

    Raises:
        DataFormatError: for a kind of message or of content block that a text model cannot take; the
            number in the message counts from 0.
    """
    return tuple(_to_hub(number, message) for number, message in enumerate(messages))


def _to_hub(number: int, message: BaseMessage) -> dict[str, Any]:
    text = _text(number, message)
    if isinstance(message, SystemMessage):
        return {"role": "system", "content": text}
    if isinstance(message, HumanMessage):
        return {"role": "user", "content": text}
    if isinstance(message, AIMessage):
        return {"role": "assistant", "content": text, **_calls(message)}
    if isinstance(message, ToolMessage):
        named = {"name": message.name} if message.name else {}
        return {"role": "tool", "content": text, "tool_call_id": message.tool_call_id, **named}
    if isinstance(message, ChatMessage):
        return {"role": message.role, "content": text}
    raise DataFormatError(
        f"Expected message {number} to be a system, human, AI or tool message, found "
        f"{type(message).__name__}; turn it into one of these."
    )


def _calls(message: AIMessage) -> dict[str, Any]:
    calls = [
        {"type": "function", "id": call["id"], "function": {"name": call["name"], "arguments": call["args"]}}
        for call in message.tool_calls
    ]
    return {"tool_calls": calls} if calls else {}


def _text(number: int, message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    words = []
    for block in message.content:
        kind = block.get("type") if isinstance(block, dict) else "text"
        if kind in _BESIDES_TEXT and isinstance(message, AIMessage):
            continue
        text = block.get("text") if isinstance(block, dict) else block
        if kind != "text" or not isinstance(text, str):
            raise DataFormatError(
                f"Expected message {number} to hold text only, found a content block of type {kind!r}; "
                "leave it out, or describe in words what it shows."
            )
        words.append(text)
    return "".join(words)


def to_ai_message(reply: ChatReply, info: EngineInfo) -> AIMessage:
    """A whole answer, with what it cost and under which prompt it was given."""
    return AIMessage(
        content=reply.text,
        usage_metadata=_usage(reply.usage),
        response_metadata=_metadata(reply.finish_reason, info),
    )


def to_ai_chunk(delta: ChatDelta, info: EngineInfo) -> AIMessageChunk:
    """A piece of an answer; usage and metadata are on the last one only, for pieces are added up."""
    if delta.finish_reason is None:
        return AIMessageChunk(content=delta.text)
    return AIMessageChunk(
        content=delta.text,
        usage_metadata=_usage(delta.usage) if delta.usage else None,
        response_metadata=_metadata(delta.finish_reason, info),
        chunk_position="last",
    )


def _usage(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens
    )


def _metadata(finish_reason: str, info: EngineInfo) -> dict[str, Any]:
    return {
        "model_name": info.model,
        "model_provider": PROVIDER,
        "finish_reason": finish_reason,
        "prompt": info.prompt,
        "prompt_form": "serving",
        "serving_sha256": info.serving_sha256,
    }
