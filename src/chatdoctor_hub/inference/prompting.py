"""From a request to the row of tokens that a model continues."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from chatdoctor_hub.errors import ConfigError, ContextLengthError
from chatdoctor_hub.inference.beginnings import Beginnings
from chatdoctor_hub.inference.engine import apply_prompt, check_characters
from chatdoctor_hub.inference.grammar import Grammar, Grammars, Guide
from chatdoctor_hub.inference.row import Row
from chatdoctor_hub.inference.shortening import without_oldest_turn
from chatdoctor_hub.inference.tools import Answering, AnswerReader, TemplateReader
from chatdoctor_hub.inference.types import ChatRequest
from chatdoctor_hub.prompts import FORMS, PromptPair

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
        self._name = name
        self._limit = context_length
        self._ends = ends | pair.ends_of_turns(tokenizer)
        grammars = Grammars(tokenizer, self._ends)
        self._answering = {
            form: Answering(pair.template(tokenizer, form), tokenizer, grammars) for form in FORMS
        }
        self._beginnings = Beginnings(self.encode)
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
        return self.encode_text(self._prompt(request))

    def encode_text(self, text: str) -> list[int]:
        """The tokens of a text as it stands.

        Raises:
            DataFormatError: for a text that breaks off within a character.
        """
        check_characters(text, "the text for the tokenizer")
        with self._lock:
            return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def spell(self, token: int) -> str:
        """The text of one token."""
        return str(self._tokenizer.decode([token], clean_up_tokenization_spaces=False))

    def row(self, request: ChatRequest, reserved: int = 0) -> Row:
        """The request as a row to be answered.

        Args:
            request: what is asked.
            reserved: tokens of the context that are taken already, by the virtual ones of an adapter.

        Raises:
            ContextLengthError: when the prompt leaves no room for an answer.
            ConfigError: for a schema that no grammar can express, or whose shortest answer is too long.
        """
        limit = self._limit - reserved if self._limit is not None else None
        text, prompt = self._fitting(request, limit)
        sampling, answering = request.sampling, self._answering[request.form]
        budget = sampling.max_tokens
        if limit is not None:
            budget = min(budget, limit - len(prompt))
        grammar = answering.grammar(request)
        reader = answering.reader(request, text)
        guide = self._guide(grammar, budget, answering.thought_end if _waits(reader) else None)
        return Row(
            prompt,
            sampling,
            budget,
            self._ends | self._special(sampling.stop),
            self._decoder(answering.kept(reader)),
            reader=reader,
            guide=guide,
            alternatives=request.logprobs,
            constant=self._beginnings.length(request, prompt),
        )

    def _guide(
        self, grammar: Grammar | None, budget: int, thought_end: tuple[int, ...] | None
    ) -> Guide | None:
        """What keeps an answer to its grammar; with `thought_end`, once a thought has ended."""
        if grammar is None:
            return None
        waits = thought_end is not None
        guide = Guide(grammar.matcher(), budget, waits=waits, opening=thought_end or ())
        needed = len(thought_end or ()) + (guide.least or 0)
        if guide.least is not None and needed > budget:
            raise ConfigError(
                f"Expected max_tokens, and the context of {self._name}, to leave the answer at least {needed} "
                f"tokens, which the schema or the call takes, found {budget}; raise max_tokens."
            )
        return guide

    def _prompt(self, request: ChatRequest) -> str:
        return self._answering[request.form].prompt(request, apply_prompt(self.pair, request))

    def _fitting(self, request: ChatRequest, limit: int | None) -> tuple[str, list[int]]:
        """The prompt and its tokens, without its oldest turns where it is too long and may be shortened."""
        text = self._prompt(request)
        prompt = self.encode_text(text)
        if limit is None:
            return text, prompt
        room = min(request.sampling.max_tokens, max(1, limit // 4))
        while request.overflow == "drop_oldest" and len(prompt) + room > limit:
            shorter = without_oldest_turn(request.messages)
            if shorter is None:
                break
            request = replace(request, messages=shorter)
            text = self._prompt(request)
            prompt = self.encode_text(text)
        if len(prompt) >= limit:
            raise ContextLengthError(
                f"Expected a prompt that leaves room for an answer in the {limit} tokens of the "
                f"context of {self._name}, found one of {len(prompt)} tokens; shorten the conversation."
            )
        return text, prompt

    def _special(self, stops: Sequence[str]) -> frozenset[int]:
        """Stop strings that are special tokens: these never show up as text."""
        tokens = self._tokenizer.get_added_vocab() if stops else {}
        return frozenset(tokens[stop] for stop in stops if stop in tokens)

    def _decoder(self, kept: frozenset[int]) -> Callable[[Sequence[int]], str]:
        """Turns tokens into text without the special ones, but for those in `kept`."""
        if not kept:
            return self._decode
        hidden = frozenset(self._tokenizer.all_special_ids) | {
            number for number, token in self._tokenizer.added_tokens_decoder.items() if token.special
        }
        hidden -= kept
        return lambda tokens: str(
            self._tokenizer.decode(
                [token for token in tokens if token not in hidden],
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
        )

    def _decode(self, tokens: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(
            tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return text


def _waits(reader: AnswerReader | TemplateReader | None) -> bool:
    """Whether a thought comes before the answer."""
    return reader is not None and reader.thinks
