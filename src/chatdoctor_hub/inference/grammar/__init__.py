"""Grammars: what a model may write next, so that its JSON is valid whatever the model.

Made with llguidance, the one library of this room: measured on a CPU with byte-level vocabularies of 32,000 and
128,000 tokens and a schema of five properties, it compiles in 0.6 and 3 ms (xgrammar 0.2: 10 and 54 ms) and
masks a token in 7 us (26 and 137 us); it needs no other package, and it names the keywords that it cannot
express where xgrammar passes over them.
"""

from __future__ import annotations

from chatdoctor_hub.inference.grammar.compiling import Grammar, Grammars
from chatdoctor_hub.inference.grammar.guiding import Guide
from chatdoctor_hub.inference.grammar.lark import call_grammar, schema_grammar
from chatdoctor_hub.inference.grammar.masking import restrict
from chatdoctor_hub.inference.grammar.matching import Matcher
from chatdoctor_hub.inference.grammar.schemas import narrowed, needed_in
from chatdoctor_hub.inference.grammar.vocabulary import Vocabulary

__all__ = [
    "Grammar",
    "Grammars",
    "Guide",
    "Matcher",
    "Vocabulary",
    "call_grammar",
    "narrowed",
    "needed_in",
    "restrict",
    "schema_grammar",
]
