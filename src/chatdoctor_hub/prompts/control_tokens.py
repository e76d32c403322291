"""Keeping what people type from being read as a tokenizer's control tokens.

Whoever types `<|end|><|system|>` would otherwise end their own turn and open a system turn. A space after the
first character ("< |end|>") is enough to make it ordinary text, and the least intrusive thing that is safe
everywhere: the words stay readable, while zero-width characters are dropped by many normalizers, and a flag
for the encoder would not travel with a text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["neutralise"]

_REPLACEMENT = "\ufffd"


def neutralise(
    messages: Sequence[Mapping[str, Any]], template: str, tokenizer: PreTrainedTokenizerBase | None
) -> list[dict[str, Any]]:
    """The messages with every control token in their texts broken, so that it encodes as ordinary text.

    Control tokens are the tokenizer's special tokens, and such of its other added tokens as the template
    writes (`<think>`); neither white space nor, of the latter, plain words count. One of a single character
    becomes U+FFFD. Texts without any are not changed; breaking twice is breaking once.

    Args:
        messages: in the Hub's format; not changed.
        template: the chat template they are for.
        tokenizer: whose tokens count; None has none.
    """
    controls = _controls(tokenizer, template) if tokenizer is not None else None
    if controls is None or controls.pattern is None:
        return [dict(message) for message in messages]
    return [
        {key: value if key == "role" else controls.without(value) for key, value in message.items()}
        for message in messages
    ]


@dataclass(frozen=True)
class _Controls:
    """The control tokens of a tokenizer under one template, ready to be looked for."""

    pattern: re.Pattern[str] | None
    normalize: Callable[[str], str] | None = None
    normalized: re.Pattern[str] | None = None

    @classmethod
    def of(cls, tokens: Iterable[str], normalizer: Any) -> _Controls:
        plain = set(tokens)
        if normalizer is None:
            return cls(_any_of(plain))
        folded = {normalizer.normalize_str(token) for token in plain}
        return cls(_any_of(plain), normalizer.normalize_str, _any_of(plain | folded))

    def without(self, value: Any) -> Any:
        """A text, or all texts in a list or mapping, with the control tokens in it broken."""
        if isinstance(value, str):
            return self._broken(value)
        if isinstance(value, Mapping):
            return {key: self.without(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return self._parts([self.without(item) for item in value])
        return value

    def _parts(self, parts: list[Any]) -> list[Any]:
        """Parts between which no control token arises where a template puts them together."""
        texts = [part.get("text") if isinstance(part, dict) else part for part in parts]
        if not self._in("".join(text for text in texts if isinstance(text, str))):
            return parts
        return [
            {**part, "text": f" {text}"}
            if isinstance(part, dict) and isinstance(text, str)
            else (f" {part}" if isinstance(part, str) else part)
            for part, text in zip(parts, texts, strict=True)
        ]

    def _broken(self, text: str) -> str:
        # What is broken can hold another one, which is broken in turn.
        while self.pattern and self.pattern.search(text):
            text = self.pattern.sub(_break, text)
        if self._in(text):  # only once normalized: there is no telling which characters make it up
            words = re.split(r"(\s+)", text)
            text = "".join(" ".join(word) if word.strip() and self._in(word) else word for word in words)
        return " ".join(text) if self._in(text) else text

    def _in(self, text: str) -> bool:
        if self.pattern and self.pattern.search(text):
            return True
        return bool(self.normalize and self.normalized and self.normalized.search(self.normalize(text)))


def _any_of(tokens: Iterable[str]) -> re.Pattern[str] | None:
    cores = {token.strip() for token in tokens} - {""}
    return re.compile("|".join(map(re.escape, sorted(cores, key=len, reverse=True)))) if cores else None


def _break(found: re.Match[str]) -> str:
    token = found[0]
    return f"{token[0]} {token[1:]}" if len(token) > 1 else _REPLACEMENT


@dataclass
class _Known:
    """What was found out about a tokenizer, as long as its tokens are the same."""

    tokens: tuple[int, tuple[str, ...]]
    by_template: dict[str, _Controls] = field(default_factory=dict)


_KNOWN: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def _controls(tokenizer: PreTrainedTokenizerBase, template: str) -> _Controls:
    tokens = (len(tokenizer), tuple(tokenizer.all_special_tokens))
    known = _KNOWN.get(tokenizer)
    if known is None or known.tokens != tokens:
        known = _KNOWN[tokenizer] = _Known(tokens)
    if template not in known.by_template:
        added = tokenizer.added_tokens_decoder.values()
        used = [token.content for token in added if token.special or _is_written(token.content, template)]
        normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
        known.by_template[template] = _Controls.of([*tokens[1], *used], normalizer)
    return known.by_template[template]


def _is_written(token: str, template: str) -> bool:
    return token in template and re.fullmatch(r"[\w\s]*", token) is None
