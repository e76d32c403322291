"""Masks that would teach nothing, or the wrong thing, are refused before the first step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from template_styles import STYLES, make_tokenizer

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data import Encoded, check_masks, encode

PAIR = PromptPair.load("chatdoctor@1")
TOKENIZER = make_tokenizer("chatml")
END = TOKENIZER.convert_tokens_to_ids("<|im_end|>")
REST, WELL = (TOKENIZER.convert_tokens_to_ids(token) for token in ("Rest", "Ġwell"))


def sample(ids: list[int], learned: str) -> Encoded:
    return Encoded(tuple(ids), tuple(sign == "x" for sign in learned))


GOOD = sample([END, REST, WELL, END, REST], ".xxx.")


@pytest.mark.parametrize("style", sorted(STYLES))
def test_what_is_encoded_passes(style: str, dialogues: list[Dialogue]) -> None:
    tokenizer = make_tokenizer(style)
    check_masks(encode(dialogues, PAIR, tokenizer, 2000).samples, tokenizer)


@pytest.mark.parametrize(
    ("bad", "kind", "says"),
    [
        (sample([END, REST, WELL, END, REST], "....."), DataFormatError, "none; the mask is empty"),
        (sample([REST, WELL, END], "xxx"), DataFormatError, "first token"),
        (sample([END, REST, WELL, END, REST], ".xx.."), ModelFormatError, "end-of-turn"),
        (sample([END, REST, WELL, REST, WELL], "..xxx"), ModelFormatError, "end-of-turn"),
        (sample([END, REST, END, WELL, END], ".xx.x"), DataFormatError, "the end alone"),
        (sample([END, END, END], ".xx"), DataFormatError, "spell words"),
        (sample([END, REST, len(TOKENIZER), END], ".xxx"), ModelFormatError, "another tokenizer"),
        (sample([END, REST, -1, END], ".xxx"), ModelFormatError, "another tokenizer"),
        (Encoded((END, REST), (False,)), DataFormatError, "a label for each token"),
        (Encoded((), ()), DataFormatError, "a label for each token"),
    ],
)
def test_a_bad_mask_is_refused_with_its_place(bad: Encoded, kind: type[Exception], says: str) -> None:
    check_masks([GOOD, GOOD], TOKENIZER)
    with pytest.raises(kind, match=rf"sample 1: .*{says}"):
        check_masks([GOOD, bad, GOOD], TOKENIZER)


def test_no_samples_are_refused() -> None:
    with pytest.raises(DataFormatError, match="found none"):
        check_masks([], TOKENIZER)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.booleans(), min_size=5, max_size=5))
def test_only_whole_turns_with_their_ends_pass(learned: list[bool]) -> None:
    """Of all masks over "<end> Rest well <end> Rest", those that end in an end, behind words, are good."""
    bad = Encoded(GOOD.ids, tuple(learned))
    try:
        check_masks([bad], TOKENIZER)
    except (DataFormatError, ModelFormatError):
        assert "".join(".x"[is_learned] for is_learned in learned) not in (".xxx.", "..xx.")
    else:
        assert "".join(".x"[is_learned] for is_learned in learned) in (".xxx.", "..xx.")


def test_the_dialogues_stand_in_no_message(say: Callable[..., Dialogue]) -> None:
    ids = encode([say("Monday.", "Rest well.")], PAIR, TOKENIZER, 512).samples[0].ids
    with pytest.raises(DataFormatError) as caught:
        check_masks([Encoded(ids, (False,) * len(ids))], TOKENIZER)
    assert "Rest" not in str(caught.value)
    assert "Monday" not in str(caught.value)
