"""From a request to the row of tokens that a model continues."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.inference.decoding import Row
from chatdoctor_hub.inference.engine import apply_prompt
from chatdoctor_hub.inference.types import ChatRequest
from chatdoctor_hub.prompts import FORMS, PromptPair
from chatdoctor_hub.prompts.rendering import render

__all__ = ["Prompter"]


class Prompter:
    """Renders and encodes requests for one model.

    The text is made by the model's own template, from messages into which the pair has been merged: a
    template that has a safety prompt baked in neither doubles it nor slips it into the training form.

    Args:
        tokenizer: the model's; not changed.
        pair: the prompt pair.
        name: the model's, for messages.
        context_length: tokens that prompt and answer may have together, or None.
        ends: tokens that end the model's turn; what the template puts after the doctor's words joins them.
    """

    def __init__(
        self, tokenizer: Any, pair: PromptPair, name: str, context_length: int | None, ends: frozenset[int]
    ) -> None:
        self.pair = pair
        self._tokenizer = tokenizer
        self._templates = {form: pair.template(tokenizer, form) for form in FORMS}
        self._name = name
        self._limit = context_length
        self._ends = ends | pair.ends_of_turns(tokenizer)
        # A tokenizer changes its own state while it encodes.
        self._lock = threading.Lock()

    @property
    def padding(self) -> int:
        """A token to pad with; any will do, since it is masked."""
        token = self._tokenizer.pad_token_id
        return int(token) if token is not None else 0

    def encode(self, request: ChatRequest) -> list[int]:
        """The tokens of the prompt.

        Raises:
            DataFormatError: when the messages are no conversation.
            ModelFormatError: when the template refuses them.
        """
        template = self._templates[request.form]
        text = render(apply_prompt(self.pair, request), template, self._tokenizer, cue=True)
        return self.encode_text(text)

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a text as it stands."""
        with self._lock:
            return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def row(self, request: ChatRequest) -> Row:
        """The request as a row to be answered.

        Raises:
            ContextLengthError: when the prompt leaves no room for an answer.
        """
        prompt, sampling = self.encode(request), request.sampling
        budget = sampling.max_tokens
        if self._limit is not None:
            if len(prompt) >= self._limit:
                raise ContextLengthError(
                    f"Expected a prompt that leaves room for an answer in the {self._limit} tokens of the "
                    f"context of {self._name}, found one of {len(prompt)} tokens; shorten the conversation."
                )
            budget = min(budget, self._limit - len(prompt))
        return Row(prompt, sampling, budget, self._ends | self._special(sampling.stop), self._decode)

    def _special(self, stops: Sequence[str]) -> frozenset[int]:
        """Stop strings that are special tokens: these never show up as text."""
        tokens = self._tokenizer.get_added_vocab() if stops else {}
        return frozenset(tokens[stop] for stop in stops if stop in tokens)

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text
