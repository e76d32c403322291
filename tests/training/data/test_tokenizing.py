"""Masks found by the tokenizer's own look-up, against the plain reading of all offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from template_styles import STYLES, make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data.tokenizing import Fast, special_ids

PAIR = PromptPair.load("chatdoctor@1")
_CACHED: dict[str, Any] = {}


def tokenizer_of(style: str) -> Any:
    if style not in _CACHED:
        from tokenizers import normalizers

        name, _, kind = style.partition(" ")
        _CACHED[style] = made = make_tokenizer(name)
        if kind:
            made.backend_tokenizer.normalizer = getattr(normalizers, kind)()
    return _CACHED[style]


def by_offsets(tokenizer: Any, text: str, spans: Sequence[tuple[int, int]]) -> list[bool]:
    """Tokens that overlap a span, and all up to the special token that comes next."""
    found = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    special = special_ids(tokenizer)
    labelled = [False] * len(found["input_ids"])
    for start, end in spans:
        inside = [at for at, (low, high) in enumerate(found["offset_mapping"]) if high > start and low < end]
        first = (
            inside[0]
            if inside
            else min(at for at, (_, high) in enumerate(found["offset_mapping"]) if high > start)
        )
        last = next(
            at
            for at in range(inside[-1] + 1 if inside else first, len(labelled))
            if found["input_ids"][at] in special
        )
        labelled[first : last + 1] = [True] * (last + 1 - first)
    return labelled


_words = st.text(
    st.one_of(
        st.characters(exclude_categories=("Cs", "Co", "Cn")),
        st.sampled_from("e\u0301 ﬁ ① 가 ㄱ 한 👩‍⚕️ \u00a0\u3000\t\n. ?!"),
    ),
    min_size=1,
    max_size=20,
).filter(str.strip)


@settings(max_examples=80, deadline=None)
@given(words=st.lists(_words, min_size=2, max_size=6))
@pytest.mark.parametrize(
    "style", [*sorted(STYLES), "chatml NFC", "chatml NFKC", "llama-3 NFD", "phi-3 Lowercase"]
)
def test_the_quick_mask_is_that_of_the_offsets(style: str, words: list[str]) -> None:
    tokenizer = tokenizer_of(style)
    messages = [{"role": ("user", "assistant")[at % 2], "content": text} for at, text in enumerate(words)]
    text, spans = PAIR.render_training(Dialogue.from_messages(messages), tokenizer)
    fast = Fast(tokenizer)
    tokens = fast.tokens([text])[0]
    assert tokens.ids == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert list(map(bool, fast.mask(tokens, spans, "doctor"))) == by_offsets(tokenizer, text, spans)
    fast.check(tokens, text, spans)
