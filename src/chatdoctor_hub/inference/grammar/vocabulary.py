"""A tokenizer's vocabulary as grammars see it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.models import first_line, require_extra

__all__ = ["Vocabulary"]


class Vocabulary:
    """What each token writes; made once for a tokenizer (about three seconds for 128,000 tokens).

    Args:
        tokenizer: of transformers, one of the fast ones; not changed.
        ends: tokens that end the model's turn.

    Raises:
        ModelFormatError: for a tokenizer that does not tell what its tokens write.
        MissingExtraError: without llguidance.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        require_extra("llguidance", extra="local")
        from llguidance import LLTokenizer

        self.ends = frozenset(ends)
        self.size = int(max(tokenizer.get_vocab().values())) + 1
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None:
            raise ModelFormatError(
                "Expected a fast tokenizer (tokenizer.json) to write JSON by a schema with, found "
                f"{type(tokenizer).__name__}; convert it to one, or ask without a schema."
            )
        ends_or_none = sorted(self.ends) or None
        try:
            self.inner = LLTokenizer(_plain(backend), n_vocab=self.size, eos_token=ends_or_none)
        except ValueError as error:
            raise ModelFormatError(
                "Expected a tokenizer whose tokens stand for bytes or characters (byte-level BPE, "
                f"SentencePiece), found one that grammars cannot be built on ({first_line(error)}); ask without "
                "a schema."
            ) from error
        self._marks = {
            text: token
            for text, token in tokenizer.get_added_vocab().items()
            if text and token < self.size and self.inner.is_special_token(token)
        }
        marks = sorted(self._marks, key=len, reverse=True)
        self._split = re.compile("|".join(map(re.escape, marks))) if marks else None
        self._single: dict[str, int] = {}

    def literal(self, text: str) -> str:
        """A text as a term of a grammar; what is a token of its own in it stands as that token."""
        terms, place = [], 0
        for found in self._split.finditer(text) if self._split else ():
            terms += [_quoted(text[place : found.start()]), f"<[{self._marks[found[0]]}]>"]
            place = found.end()
        return " ".join(term for term in [*terms, _quoted(text[place:])] if term)

    def single(self, text: str) -> int | None:
        """The token that writes just this text, where there is one."""
        if text not in self._single:
            tokens = self.inner.tokenize_str(text)
            self._single[text] = tokens[0] if len(tokens) == 1 else -1
        token = self._single[text]
        return token if token >= 0 else None

    def bytes_of(self, token: int) -> bytes:
        """What a token writes."""
        return bytes(self.inner.decode_bytes([token]))


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False) if text else ""


def _plain(backend: Any) -> str:
    """The tokenizer as JSON, without the padding and cutting that a batch may have left in it."""
    record = json.loads(backend.to_str())
    record["padding"] = record["truncation"] = None
    return json.dumps(record)
