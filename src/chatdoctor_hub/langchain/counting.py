"""Tokens of conversations, and of parts that are none."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import DataFormatError, ModelFormatError

if TYPE_CHECKING:
    from chatdoctor_hub.inference.engine import Engine
    from chatdoctor_hub.inference.types import Form

__all__ = ["tokens_of"]

_PATIENT, _DOCTOR = {"role": "user", "content": "x"}, {"role": "assistant", "content": "x"}


def tokens_of(
    engine: Engine, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]], form: Form
) -> int:
    """Tokens of the prompt that messages become; of a part of a conversation, about as many.

    LangChain's `trim_messages` asks how long parts are: backwards, a system message alone, results without their
    calls. What no chat template renders has its words counted in one turn, and the marks of as many turns.

    Args:
        engine: whose tokens.
        messages: in the Hub's format.
        tools: what may be called.
        form: of the prompt.
    """
    for said in (messages, messages[::-1]):
        try:
            return engine.count_tokens(said, tools, form=form)
        except (DataFormatError, ModelFormatError):
            continue
    words = "\n".join(filter(None, map(_words, messages)))
    whole = engine.count_tokens([{**_PATIENT, "content": words}], tools, form=form)
    one, three = (
        engine.count_tokens(said, form=form) for said in ([_PATIENT], [_PATIENT, _DOCTOR, _PATIENT])
    )
    turns = len(messages) + sum(len(message.get("tool_calls") or ()) for message in messages)
    return whole + max(turns - 1, 0) * ((three - one) // 2)


def _words(message: Mapping[str, Any]) -> str:
    called = [json.dumps(call["function"], ensure_ascii=False) for call in message.get("tool_calls") or ()]
    return "\n".join(filter(None, [str(message.get("content") or ""), *called]))
