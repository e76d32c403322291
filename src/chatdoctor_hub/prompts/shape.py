"""`Shape`: how a question is wrapped, and whether as plain text or in the base's own chat template."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import PromptError

__all__ = ["Shape"]

_QUESTION = "{question}"
_PLAIN = """\
{{- bos_token -}}
{%- for message in messages -%}
{%- if message['role'] == 'system' -%}
{{ message['content'] ~ '\\n\\n' }}
{%- elif message['role'] == 'user' -%}
{{ message['content'] }}
{%- elif message['role'] == 'assistant' -%}
{{ 'GAP' ~ message['content'] ~ eos_token ~ '\\n\\n' }}
{%- else -%}
{{ raise_exception('Plain text knows the roles system, user and assistant only.') }}
{%- endif -%}
{%- endfor -%}"""
# The same as `Shape.wrap`, in the Jinja that other implementations read as well.
_WRAP = """\
{%- set chatdoctor.asked = [] -%}
{%- for message in chatdoctor.rest -%}
{%- set words = message['content'] -%}
{%- set chatdoctor.put = message -%}
{%- if message['role'] == 'user' and words is string -%}
{%- if not (IS_WRAPPED) -%}
{%- set chatdoctor.put = {'role': 'user', 'content': BEFORE ~ words ~ AFTER} -%}
{%- endif -%}
{%- elif message['role'] == 'user' and words -%}
{%- set edge = words | EDGE -%}
{%- if edge is string or edge['text'] != EDGE_TEXT -%}
{%- set chatdoctor.put = {'role': 'user', 'content': (FIRST_PART + words + LAST_PART) | list} -%}
{%- endif -%}
{%- endif -%}
{%- set chatdoctor.asked = (chatdoctor.asked + [chatdoctor.put]) | list -%}
{%- endfor -%}
{%- set chatdoctor.rest = chatdoctor.asked -%}
"""


@dataclass(frozen=True)
class Shape:
    r"""One form of a prompt apart from its system words (PTST, arXiv 2402.18540, section 3).

    A template of the paper is a shape and a system prompt.

    Args:
        wrapping: what every question is put into, with `{question}` in it once: `"Question: {question}"`.
        plain: write plain text, whatever chat template the base has: the system words, a blank line, the
            wrapped question, the answer. The wrapping then ends with the cue for the answer
            (`"Question: {question}\nAnswer:"`). False puts the turns into the base's own chat template.

    Raises:
        PromptError: for a wrapping that does not have `{question}` in it once.
    """

    wrapping: str = _QUESTION
    plain: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.wrapping, str) or self.wrapping.count(_QUESTION) != 1:
            raise PromptError(
                f"Expected a wrapping with {_QUESTION} in it once, found {self.wrapping!r}; write "
                f"'Question: {_QUESTION}' or the like."
            )

    @property
    def _around(self) -> tuple[str, str]:
        before, _, after = self.wrapping.partition(_QUESTION)
        return before, after

    def wrap(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The messages with every user's words wrapped; what is wrapped already stays as it is.

        Args:
            messages: in the Hub's format; not changed. Words in parts get a part before and one after.
        """
        before, after = self._around
        if not before and not after:
            return [dict(message) for message in messages]
        return [
            {**message, "content": _wrapped(message.get("content"), before, after)}
            if message.get("role") == "user"
            else dict(message)
            for message in messages
        ]

    def layout(self) -> str:
        """The chat template (Jinja) of plain text, for messages that are wrapped."""
        return _PLAIN.replace("GAP", "" if self._around[1][-1:].isspace() else " ")

    def code(self) -> str:
        """What `wrap` does as a piece of a chat template, for `chatdoctor.rest`; "" when it does nothing."""
        before, after = self._around
        if not before and not after:
            return ""
        is_wrapped = [
            *([f"words[:{len(before)}] == BEFORE"] if before else []),
            *([f"words[-{len(after)}:] == AFTER"] if after else []),
            f"words | length >= {len(before) + len(after)}",
        ]
        code = _WRAP.replace("| EDGE", "| first" if before else "| last")
        code = code.replace("IS_WRAPPED", " and ".join(is_wrapped))
        values = {
            "FIRST_PART": _parts(before),
            "LAST_PART": _parts(after),
            "EDGE_TEXT": before or after,
            "BEFORE": before,
            "AFTER": after,
        }
        return re.sub("|".join(values), lambda name: json.dumps(values[name[0]], ensure_ascii=False), code)

    def digest(self, text: str) -> str:
        """sha256 (hex) of a form: its system text in UTF-8, and the shape unless it is the ordinary one."""
        if self != Shape():
            text = json.dumps([text, self.wrapping, self.plain], ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def to_record(self) -> dict[str, Any]:
        """What is not ordinary about it, by name; JSON-able."""
        record = {"wrapping": self.wrapping, "plain": self.plain}
        return {name: value for name, value in record.items() if value != getattr(Shape(), name)}


def _parts(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}] if text else []


def _wrapped(content: Any, before: str, after: str) -> Any:
    if isinstance(content, str):
        whole = len(content) >= len(before) + len(after)
        if whole and content.startswith(before) and content.endswith(after):
            return content
        return f"{before}{content}{after}"
    if not content:
        return content
    edge = content[0] if before else content[-1]
    if isinstance(edge, Mapping) and edge.get("text") == (before or after):
        return content
    return [*_parts(before), *content, *_parts(after)]
