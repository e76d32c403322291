"""From a request to the grammar of its answer, kept for the next request that asks the same."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.grammar.lark import schema_grammar
from chatdoctor_hub.inference.grammar.matching import Matcher
from chatdoctor_hub.inference.grammar.schemas import needed_in
from chatdoctor_hub.inference.grammar.vocabulary import Vocabulary

__all__ = ["Grammar", "Grammars"]

_KEPT = 64
# Where in the grammar, and the grammar with its lines numbered: it is not the caller's text.
_PLACE = re.compile(r"^at \d+\(\d+\): ")
_LISTING = re.compile(r"\n\s*\d+ \| |\n<state>")
_KEYS = re.compile(r"Unimplemented keys: \[(.*?)\]")


class Grammar:
    """A compiled grammar; each answer gets a matcher of its own.

    Args:
        vocabulary: of the model.
        text: the grammar.
        where: what it is made of, for messages.
        needed: names of properties that objects must have.

    Raises:
        ConfigError: naming the keyword that a grammar cannot express.
    """

    def __init__(self, vocabulary: Vocabulary, text: str, where: str, needed: Sequence[str] = ()) -> None:
        from llguidance import LLMatcher, LLParserLimits

        self._vocabulary, self._needed = vocabulary, tuple(needed)
        # What it would print on errors holds text of the answer.
        limits = LLParserLimits(verbose_errors=False)
        self._inner = LLMatcher(
            vocabulary.inner, LLMatcher.grammar_from_lark(text), log_level=0, limits=limits
        )
        if self._inner.is_error():
            raise ConfigError(_refusal(self._inner.get_error(), where))

    def matcher(self) -> Matcher:
        """A matcher at the beginning of an answer."""
        return Matcher(self._inner.deep_copy(), self._vocabulary, self._needed)


class Grammars:
    """The grammars for one tokenizer; may be used from several threads.

    Args:
        tokenizer: of transformers.
        ends: tokens that end the model's turn.
    """

    def __init__(self, tokenizer: Any, ends: Collection[int]) -> None:
        self._tokenizer = tokenizer
        self._ends = frozenset(ends)
        self._vocabulary: Vocabulary | None = None
        self._kept: OrderedDict[str, Grammar] = OrderedDict()
        self._lock = threading.Lock()

    def for_schema(self, schema: Mapping[str, Any]) -> Grammar:
        """JSON that satisfies a schema.

        Raises:
            ConfigError: for a schema that no grammar can express, naming the keyword.
            ModelFormatError: when the tokenizer does not tell what its tokens write.
            MissingExtraError: without llguidance.
        """
        text = schema_grammar(schema)
        return self.of(lambda _: text, "the response schema", needed_in(schema))

    def of(self, write: Callable[[Vocabulary], str], where: str, needed: Sequence[str] = ()) -> Grammar:
        """The grammar that `write` writes for the vocabulary; raises as `for_schema` does."""
        with self._lock:
            if self._vocabulary is None:
                self._vocabulary = Vocabulary(self._tokenizer, self._ends)
            text = write(self._vocabulary)
            if text not in self._kept:
                self._kept[text] = Grammar(self._vocabulary, text, where, needed)
            self._kept.move_to_end(text)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return self._kept[text]


def _refusal(found: str, where: str) -> str:
    keys = _KEYS.search(found)
    if keys:
        names = keys[1].replace('"', "'")
        return (
            f"Expected {where} to be one that a grammar can express, found the keyword {names}; leave it out."
        )
    reason = " ".join(_PLACE.sub("", _LISTING.split(found, 1)[0]).split())[:300].rstrip(".")
    return (
        f"Expected {where} to be one that a grammar can express, found one that is not ({reason}); change it."
    )
