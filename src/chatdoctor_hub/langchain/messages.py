"""LangChain's messages to the Hub's, and an engine's answers to LangChain's."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
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
from langchain_core.messages.tool import invalid_tool_call, tool_call, tool_call_chunk

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.inference.types import (
    ChatDelta,
    ChatReply,
    EngineInfo,
    Form,
    TokenLogprob,
    ToolCallDelta,
    Usage,
)

__all__ = ["PROVIDER", "check_answers_calls", "to_ai_chunk", "to_ai_message", "to_hub_messages"]

PROVIDER = "chatdoctor"

# What an AI message may hold besides its words: its calls are in `tool_calls`, its thoughts are not repeated.
_BESIDES_TEXT = (
    "reasoning",
    "thinking",
    "redacted_thinking",
    "tool_call",
    "tool_call_chunk",
    "invalid_tool_call",
    "tool_use",
)

_WORDLESS = AIMessageChunk(content="")


def to_hub_messages(messages: Sequence[BaseMessage]) -> tuple[dict[str, Any], ...]:
    """The messages in the Hub's format; text blocks are joined.

    Raises:
        DataFormatError: for a kind of message or of content block that a text model cannot take; the
            number in the message counts from 0.
    """
    return tuple(_to_hub(number, message) for number, message in enumerate(messages))


def check_answers_calls(messages: Sequence[BaseMessage]) -> None:
    """Make sure that what tools said was asked for.

    Raises:
        DataFormatError: for a tool message without its call; the number in the message counts from 0.
    """
    called: set[str | None] = set()
    for number, message in enumerate(messages):
        if isinstance(message, AIMessage):
            called |= {call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)}
        elif isinstance(message, ToolMessage) and message.tool_call_id not in called:
            raise DataFormatError(
                f"Expected message {number} (tool) to answer a call of an AI message before it, found none of "
                "its tool_call_id; keep the two together."
            )


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
    calls = [_call(call["id"], call["name"], call["args"]) for call in message.tool_calls]
    # What could not be read was told to the model by a tool message of that id: it is part of what was said.
    calls += [
        _call(call["id"], call["name"] or "unknown", call["args"] or "")
        for call in message.invalid_tool_calls
        if call["id"]
    ]
    return {"tool_calls": calls} if calls else {}


def _call(id: str | None, name: str, arguments: Any) -> dict[str, Any]:
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


def _text(number: int, message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    words = []
    for given in message.content:
        block: Any = given
        if isinstance(block, dict) and block.get("type") == "non_standard":
            block = block.get("value", block)
        kind = block.get("type") if isinstance(block, dict) else "text"
        spoken = isinstance(message, AIMessage)
        if spoken and kind in _BESIDES_TEXT:
            continue
        name = "refusal" if spoken and kind == "refusal" else "text"
        text = block.get(name) if isinstance(block, dict) else block
        if kind != name or not isinstance(text, str):
            raise DataFormatError(
                f"Expected message {number} to hold text only, found a content block of type {kind!r}; "
                "leave it out, or describe in words what it shows."
            )
        words.append(text)
    return "".join(words)


def to_ai_message(reply: ChatReply, info: EngineInfo, form: Form = "serving") -> AIMessage:
    """A whole answer, with what it cost and under which prompt it was given."""
    declined = reply.refusal
    return AIMessage(
        content=[*_text_block(reply.text), _refusal_block(declined)] if declined else reply.text,
        additional_kwargs={"reasoning_content": reply.reasoning} if reply.reasoning else {},
        tool_calls=[
            tool_call(name=call.name, args=dict(call.arguments), id=call.id) for call in reply.tool_calls
        ],
        invalid_tool_calls=[
            invalid_tool_call(name=call.name, args=call.text, id=call.id, error=call.error)
            for call in reply.invalid_tool_calls
        ],
        usage_metadata=_usage(reply.usage),
        response_metadata={
            **_metadata(reply.finish_reason, info, form, reply.model),
            **_logprobs(reply.logprobs),
        },
    )


def to_ai_chunk(
    delta: ChatDelta,
    info: EngineInfo,
    form: Form = "serving",
    model: str | None = None,
    *,
    blocks: bool = False,
) -> AIMessageChunk:
    """A piece of an answer; usage and metadata are on the last one only, for pieces are added up.

    Args:
        delta: the piece.
        info: of the engine.
        form: of the prompt.
        model: what answers, where it is not the engine's default.
        blocks: content as LangChain's standard blocks (output version "v1"), told apart by their indexes.
    """
    last = delta.finish_reason is not None
    if not (last or delta.tool_calls or delta.reasoning or delta.logprobs or blocks) and not delta.refusal:
        return _words(delta.text)
    metadata = _logprobs(delta.logprobs)
    if blocks:
        # So says LangChain of content that is made of blocks; it would add the calls once more.
        metadata["output_version"] = "v1"
    if delta.finish_reason is not None:
        metadata.update(_metadata(delta.finish_reason, info, form, model or info.model))
    return AIMessageChunk(
        content=_content(delta, blocks),
        additional_kwargs={"reasoning_content": delta.reasoning} if delta.reasoning and not blocks else {},
        tool_call_chunks=[
            tool_call_chunk(name=piece.name, args=piece.arguments, id=piece.id, index=piece.index)
            for piece in delta.tool_calls
        ],
        usage_metadata=_usage(delta.usage) if delta.usage else None,
        response_metadata=metadata,
        chunk_position="last" if last else None,
    )


def _words(text: str) -> AIMessageChunk:
    """A chunk of nothing but words, as nearly all are: a copy with contents of its own, a third of making one."""
    chunk = copy(_WORDLESS)
    vars(chunk).update(
        content=text,
        additional_kwargs={},
        response_metadata={},
        tool_calls=[],
        invalid_tool_calls=[],
        tool_call_chunks=[],
    )
    return chunk


def _content(delta: ChatDelta, blocks: bool) -> Any:
    declined = delta.refusal
    if not blocks:
        return [{**_refusal_block(declined), "index": 0}] if declined else delta.text
    made: list[dict[str, Any]] = []
    if delta.reasoning:
        made.append({"type": "reasoning", "reasoning": delta.reasoning, "index": "lc_reasoning"})
    made += [{**block, "index": "lc_text"} for block in _text_block(delta.text)]
    if declined:
        made.append({**_refusal_block(declined), "index": "lc_refusal"})
    return made + [_call_block(piece) for piece in delta.tool_calls]


def _text_block(text: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text}] if text else []


def _refusal_block(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def _call_block(piece: ToolCallDelta) -> dict[str, Any]:
    return {
        "type": "tool_call_chunk",
        "id": piece.id,
        "name": piece.name,
        "args": piece.arguments,
        "index": f"lc_tool_{piece.index}",
    }


def _usage(usage: Usage) -> UsageMetadata:
    return UsageMetadata(
        input_tokens=usage.input_tokens, output_tokens=usage.output_tokens, total_tokens=usage.total_tokens
    )


def _logprobs(found: Sequence[TokenLogprob] | None) -> dict[str, Any]:
    """As OpenAI writes them; lists of pieces that are added up are joined."""
    if found is None:
        return {}
    content = [
        {
            "token": token.token,
            "logprob": token.logprob,
            "top_logprobs": [{"token": text, "logprob": value} for text, value in token.top],
        }
        for token in found
    ]
    return {"logprobs": {"content": content}}


def _metadata(finish_reason: str, info: EngineInfo, form: Form, model: str) -> dict[str, Any]:
    safe = form == "serving"
    return {
        "model_name": model,
        "model_provider": PROVIDER,
        "finish_reason": finish_reason,
        "prompt": info.prompt,
        "prompt_form": form,
        # None marks an answer that was given without the safety prompt.
        "serving_sha256": info.serving_sha256 if safe else None,
    }
