"""`Beginnings`: how much of a prompt stands in every prompt of its kind."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from chatdoctor_hub.errors import ChatDoctorError
from chatdoctor_hub.inference.types import ChatRequest

__all__ = ["Beginnings", "common_length"]

_KINDS = 64
# Two patients whose words begin with no character in common.
_WORDS = ("Fever", "?")


class Beginnings:
    """Finds the tokens that all prompts of a kind begin with: the safety prompt, the instruction, the tools.

    A kind is the form, the tools, the choice among them and the schema; the second time that a caller sends the
    same system message, that is part of the kind as well. The prompts of two made-up patients tell what is
    constant; what a patient wrote never is.

    Args:
        encode: makes the tokens of the prompt of a request.
    """

    def __init__(self, encode: Callable[[ChatRequest], Sequence[int]]) -> None:
        self._encode = encode
        self._kept: OrderedDict[str, Sequence[int] | None] = OrderedDict()
        self._lock = threading.Lock()

    def length(self, request: ChatRequest, prompt: Sequence[int]) -> int:
        """How many of the prompt's first tokens are constant."""
        systems = [message for message in request.messages if message.get("role") in ("system", "developer")]
        if systems and not self._seen(_kind(request, systems)):
            systems = []
        return common_length(self._of(request, systems), prompt)

    def _seen(self, kind: str) -> bool:
        with self._lock:
            seen = kind in self._kept
            if not seen:
                self._keep(kind, None)
            return seen

    def _of(self, request: ChatRequest, systems: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        kind = _kind(request, systems)
        with self._lock:
            known = self._kept.get(kind)
            if known is not None:
                self._kept.move_to_end(kind)
                return known
        one, other = (self._tokens(request, systems, words) for words in _WORDS)
        known = one[: common_length(one, other)]
        with self._lock:
            self._keep(kind, known)
        return known

    def _tokens(
        self, request: ChatRequest, systems: Sequence[Mapping[str, Any]], words: str
    ) -> Sequence[int]:
        try:
            return self._encode(replace(request, messages=(*systems, {"role": "user", "content": words})))
        except ChatDoctorError:
            return ()

    def _keep(self, kind: str, tokens: Sequence[int] | None) -> None:
        self._kept[kind] = tokens
        self._kept.move_to_end(kind)
        while len(self._kept) > _KINDS:
            self._kept.popitem(last=False)


def _kind(request: ChatRequest, systems: Sequence[Mapping[str, Any]]) -> str:
    parts = (request.form, request.tools, request.tool_choice, request.response_schema, systems)
    return repr(parts)  # any value has one, and a schema with keys of several types cannot be sorted


def common_length(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences have in common at their beginning."""
    for at, (mine, theirs) in enumerate(zip(one, other, strict=False)):
        if mine != theirs:
            return at
    return min(len(one), len(other))
