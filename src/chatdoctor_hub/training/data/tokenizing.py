"""`Fast`: token ids of rendered dialogues and masks through their offsets, many at a time."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Fast", "LossOn", "special_ids"]

LossOn = Literal["doctor", "last", "all"]
"""Tokens that are learned: every doctor's turn, the last one only, or all of the text."""

_BETWEEN = 3  # tokens from the end of the words within which the turn must end
_GLUED = 8  # characters of the template that a learned token may begin with


def special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """The ids of all special tokens: the named ones, and those added as special."""
    added = tokenizer.added_tokens_decoder.items()
    return frozenset(tokenizer.all_special_ids) | {number for number, token in added if token.special}


class Fast:
    """A fast tokenizer without what transformers does around it for every call.

    Args:
        tokenizer: whose tokens; its settings for truncation and padding are switched off, as every call of
            its own does.

    Raises:
        ModelFormatError: for a slow one, which has no offsets.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise ModelFormatError(
                "Expected a fast tokenizer, whose offsets give exact masks, found a slow one; convert it to "
                "tokenizer.json."
            )
        self._tokenizer = tokenizer
        self._backend: Any = tokenizer.backend_tokenizer
        self._special = special_ids(tokenizer)

    def tokens(self, texts: Sequence[str]) -> list[Any]:
        """The `tokenizers.Encoding` of each text, no token added."""
        if self._backend.truncation is not None:
            self._backend.no_truncation()
        if self._backend.padding is not None:
            self._backend.no_padding()
        self._backend.encode_special_tokens = bool(getattr(self._tokenizer, "split_special_tokens", False))
        return list(self._backend.encode_batch(list(texts), add_special_tokens=False))

    def mask(self, tokens: Any, spans: Sequence[Span], loss_on: LossOn) -> bytearray:
        """For each token 1 where it is learned, else 0.

        Args:
            tokens: of a text.
            spans: character ranges of the doctor's turns in it, in order.
            loss_on: which of them count; the token that ends a turn always goes with it.

        Raises:
            ModelFormatError: when no end-of-turn token follows a turn.
        """
        mask = bytearray(len(tokens))
        for first, stop in self.turns(tokens, spans[-1:] if loss_on == "last" else spans):
            mask[first : stop + 1] = b"\1" * (stop + 1 - first)
        if loss_on == "all":
            mask[1:] = b"\1" * (len(mask) - 1)
        return mask

    def turns(self, tokens: Any, spans: Sequence[Span]) -> list[Span]:
        """Of each turn its first token and the token that ends it.

        Raises:
            ModelFormatError: when no end-of-turn token follows a turn.
        """
        ids = tokens.ids
        return [self._turn(tokens, ids, start, end) for start, end in spans]

    def _turn(self, tokens: Any, ids: Sequence[int], start: int, end: int) -> Span:
        """The first token of a turn, and the token that ends it."""
        first, after = tokens.char_to_token(start), tokens.char_to_token(end)
        if first is None or after is None:  # white space that no token stands for
            offsets = tokens.offsets
            first = next((at for at, (_, stop) in enumerate(offsets) if stop > start), len(ids))
            after = next((at for at in range(first, len(ids)) if offsets[at][0] >= end), len(ids))
        else:
            while after < len(ids) and tokens.token_to_chars(after)[0] < end:
                after += 1
        # White space may stand between the words and the token that ends the turn.
        near = range(after, min(after + _BETWEEN, len(ids)))
        stop = next((at for at in near if ids[at] in self._special), None)
        if stop is None:
            raise ModelFormatError(
                "Expected a special end-of-turn token after each doctor's turn, found none; give the "
                "tokenizer an eos_token, or a chat template that ends turns."
            )
        return first, stop

    def check(self, tokens: Any, text: str, spans: Sequence[Span]) -> None:
        """Decode what is learned of the doctor's turns and compare it with the doctor's words.

        Raises:
            ModelFormatError: when it is something else: the tokenizer's offsets do not fit its tokens.
        """
        ids = tokens.ids
        for (start, end), (first, stop) in zip(spans, self.turns(tokens, spans), strict=True):
            learned = ids[first:stop]
            while learned and learned[-1] in self._special:
                learned.pop()
            words, found = self._folded(text[start:end]), self._decoded(learned)
            if words in found and len(found) <= len(words) + _GLUED:
                continue
            # A tokenizer that has no token for some characters spells nothing of the text in full.
            if self._decoded(ids) == self._folded(text):
                raise ModelFormatError(
                    "Expected the learned tokens to spell the doctor's words, found others; the tokenizer's "
                    "offsets do not fit its tokens: use its original tokenizer.json."
                )

    def _decoded(self, ids: Sequence[int]) -> str:
        return self._folded(str(self._tokenizer.decode(list(ids), clean_up_tokenization_spaces=False)))

    def _folded(self, text: str) -> str:
        """What is left when white space, letter case and the tokenizer's own rewriting are set aside."""
        if self._backend.normalizer is not None:
            text = self._backend.normalizer.normalize_str(text)
        text = unicodedata.normalize("NFKC", text).casefold()
        return "".join(sign for sign in text if not sign.isspace() and sign not in "▁\ufffd")
