"""The mask, token by token: learned tokens stand between braces in the expectations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from template_styles import STYLES, make_tokenizer, shown

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import encode
from chatdoctor_hub.training.data.encoding import Encoded, encode_dialogue, encode_text
from chatdoctor_hub.training.data.tokenizing import Fast

WORDS = ("My head hurts.", "Since when?", "Monday.", "Rest well.")
PAIR = PromptPair(
    id="short@1", instruction="Help.", safety="Stay safe.", layout=PromptPair.load("chatdoctor@1").layout
)

# Learned tokens stand between braces; Ċ is a new line, Ġ or ▁ a space that belongs to the token.
EXPECTED = {
    "chatml": (
        "<|im_start|> system Ċ Help . <|im_end|> Ċ "
        "<|im_start|> user Ċ My Ġhead Ġhurts . <|im_end|> Ċ "
        "<|im_start|> assistant Ċ { Since Ġwhen ? <|im_end|> } Ċ "
        "<|im_start|> user Ċ Monday . <|im_end|> Ċ "
        "<|im_start|> assistant Ċ { Rest Ġwell . <|im_end|> } Ċ"
    ),
    "llama-3": (
        "<|begin_of_text|> "
        "<|start_header_id|> system <|end_header_id|> Ċ Ċ Help . <|eot_id|> "
        "<|start_header_id|> user <|end_header_id|> Ċ Ċ My Ġhead Ġhurts . <|eot_id|> "
        "<|start_header_id|> assistant <|end_header_id|> Ċ Ċ { Since Ġwhen ? <|eot_id|> } "
        "<|start_header_id|> user <|end_header_id|> Ċ Ċ Monday . <|eot_id|> "
        "<|start_header_id|> assistant <|end_header_id|> Ċ Ċ { Rest Ġwell . <|eot_id|> }"
    ),
    # The white space before </s> is learned with it: the end would never follow the words without.
    "llama-2": (
        "<s> [ INST] ▁<<SYS>>ĊHelp.Ċ<</SYS>>ĊĊMy ▁head ▁hurts. ▁[/INST] { ▁Since ▁when? ▁ </s> } "
        "<s> [ INST] ▁Monday. ▁[/INST] { ▁Rest ▁well. ▁ </s> }"
    ),
    "layout": (
        "### ĠInstruction : Ċ Help . Ċ Ċ ### ĠPatient : Ċ My Ġhead Ġhurts . Ċ Ċ "
        "### ĠDoctor : Ċ { Since Ġwhen ? </s> } Ċ Ċ ### ĠPatient : Ċ Monday . Ċ Ċ "
        "### ĠDoctor : Ċ { Rest Ġwell . </s> } Ċ Ċ"
    ),
    # What is behind the last turn's end closes the text, and is not learned.
    "phi-3": (
        "<|system|> Ċ Help . <|end|> Ċ <|user|> Ċ My Ġhead Ġhurts . <|end|> Ċ "
        "<|assistant|> Ċ { Since Ġwhen ? <|end|> } Ċ <|user|> Ċ Monday . <|end|> Ċ "
        "<|assistant|> Ċ { Rest Ġwell . <|end|> } Ċ <|endoftext|>"
    ),
    # The system words are folded into the first turn of these two, which have no role for them.
    "mistral": (
        "<s> [INST] ▁ Help. ĊĊ My ▁head ▁hurts. ▁ [/INST] { ▁Since ▁when? </s> } "
        "[INST] ▁Monday. ▁ [/INST] { ▁Rest ▁well. </s> }"
    ),
    "gemma": (
        "<bos> <start_of_turn> user Ċ Help. ĊĊ My ▁head ▁hurts. <end_of_turn> Ċ "
        "<start_of_turn> mo delĊ { Si nce ▁when? <end_of_turn> } Ċ "
        "<start_of_turn> user Ċ Monday. <end_of_turn> Ċ <start_of_turn> mo delĊ { Rest ▁well. <end_of_turn> } Ċ"
    ),
    "zephyr": (
        "<| system |> Ċ Help . </s> Ċ <| user |> Ċ My Ġhead Ġhurts . </s> Ċ "
        "<| assistant |> Ċ { Since Ġwhen ? </s> } Ċ <| user |> Ċ Monday . </s> Ċ "
        "<| assistant |> Ċ { Rest Ġwell . </s> } Ċ"
    ),
    "vicuna": (
        "▁ Help. ▁USER: ▁My ▁head ▁hurts. ▁ASSISTANT: { ▁Since ▁when? </s> } "
        "USER : ▁Monday. ▁ASSISTANT: { ▁Rest ▁well. </s> }"
    ),
}


@pytest.fixture(scope="module", params=sorted(STYLES))
def styled(request: pytest.FixtureRequest) -> tuple[str, Any]:
    return request.param, make_tokenizer(request.param)


def test_exactly_the_doctors_tokens_and_the_end_of_each_turn_are_learned(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    style, tokenizer = styled
    sample = encode_dialogue(say(*WORDS), PAIR, tokenizer)
    assert shown(sample.ids, sample.labelled, tokenizer) == EXPECTED[style]


def test_the_datas_own_system_turn_is_not_learned(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    _, tokenizer = styled
    plain = encode_dialogue(say(*WORDS), PAIR, tokenizer)
    told = encode_dialogue(say(*WORDS, system="My head hurts. Rest well."), PAIR, tokenizer)
    assert len(told) > len(plain)
    assert _learned(told) == _learned(plain)


def test_a_turn_of_the_patient_after_the_last_answer_is_not_learned(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    _, tokenizer = styled
    whole, open_ended = (encode_dialogue(say(*words), PAIR, tokenizer) for words in (WORDS[:2], WORDS[:3]))
    assert len(open_ended) > len(whole)
    assert _learned(open_ended) == _learned(whole)


def test_words_that_the_doctor_repeats_from_the_patient_are_learned_only_from_the_doctor(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    _, tokenizer = styled
    once = encode_dialogue(say("Monday.", "Rest well."), PAIR, tokenizer)
    echo = encode_dialogue(say("Rest well.", "Rest well.", "Rest well.", "Rest well."), PAIR, tokenizer)
    assert _learned(echo) == 2 * _learned(once)


# Whatever speakers say, in whatever script; no special token of any style among it.
_speech = st.text(
    st.characters(exclude_categories=("Cs", "Co", "Cn"), exclude_characters="<|>"), min_size=1, max_size=30
).filter(str.strip)


@settings(max_examples=60, deadline=None)
@given(words=st.lists(_speech, min_size=2, max_size=6))
@pytest.mark.parametrize("style", ["chatml", "llama-3", "layout", "phi-3", "zephyr"])
def test_learned_tokens_spell_the_doctors_words(style: str, words: list[str]) -> None:
    tokenizer = _cached(style)
    end = ENDS.get(style, "</s>")
    turns = [word for number, word in enumerate(words) if number % 2]
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": word} for number, word in enumerate(words)
    ]
    dialogue = Dialogue.from_messages(messages)
    sample = encode_dialogue(dialogue, PAIR, tokenizer)
    assert tokenizer.decode(_learned(sample)) == "".join(turn.strip() + end for turn in turns)
    assert tokenizer.decode(sample.ids) == PAIR.render_training(dialogue, tokenizer)[0]


ENDS = {"chatml": "<|im_end|>", "llama-3": "<|eot_id|>", "phi-3": "<|end|>"}


@settings(max_examples=40, deadline=None)
@given(words=st.lists(_speech, min_size=2, max_size=10), room=st.integers(20, 200))
def test_shortening_keeps_as_many_of_the_newest_exchanges_as_fit(words: list[str], room: int) -> None:
    tokenizer = _cached("chatml")
    roles = ("user", "assistant")
    messages = [{"role": roles[number % 2], "content": word} for number, word in enumerate(words)]
    suffixes = [
        encode_dialogue(Dialogue.from_messages(messages[start:]), PAIR, tokenizer)
        for start in range(0, len(messages) - 1, 2)
    ]
    fitting = [sample for sample in suffixes if len(sample) <= room]
    try:
        found = encode([Dialogue.from_messages(messages)], PAIR, tokenizer, room).samples
    except DataFormatError:
        found = ()
    assert list(found) == fitting[:1]


def test_the_last_turn_alone_is_learned_where_that_is_asked_for(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    _, tokenizer = styled
    every, last = (encode_dialogue(say(*WORDS), PAIR, tokenizer, kind) for kind in ("doctor", "last"))
    assert last.ids == every.ids
    assert _learned(last) == _learned(every)[-len(_learned(last)) :]
    assert _learned(last) == _learned(encode_dialogue(say("Monday.", "Rest well."), PAIR, tokenizer))


def test_all_but_the_first_token_is_learned_where_that_is_asked_for(say: Callable[..., Dialogue]) -> None:
    sample = encode_dialogue(say(*WORDS), PAIR, _cached("llama-3"), "all")
    assert _learned(sample) == list(sample.ids[1:])


def test_a_slow_tokenizer_is_refused(say: Callable[..., Dialogue]) -> None:
    from transformers import ByT5Tokenizer

    with pytest.raises(ModelFormatError, match="fast tokenizer"):
        encode([say(*WORDS)], PAIR, ByT5Tokenizer(), 512)


def test_a_tokenizer_without_a_pad_token_is_enough(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    assert tokenizer.pad_token is None
    assert encode([say(*WORDS)], PAIR, tokenizer, 512).samples


def test_a_tokenizers_own_truncation_and_padding_are_not_used(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    plain = encode([say(*WORDS), say("Monday.", "Rest well.")], PAIR, tokenizer, 512)
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    assert encode([say(*WORDS), say("Monday.", "Rest well.")], PAIR, tokenizer, 512) == plain


def test_the_tokens_are_those_of_the_tokenizers_own_call(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    _, tokenizer = styled
    text, _ = PAIR.render_training(say(*WORDS), tokenizer)
    assert (
        list(encode_dialogue(say(*WORDS), PAIR, tokenizer).ids)
        == tokenizer(text, add_special_tokens=False)["input_ids"]
    )


def test_offsets_that_do_not_fit_the_tokens_are_found_out(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    text, spans = PAIR.render_training(say(*WORDS), tokenizer)
    fast = Fast(tokenizer)
    fast.check(fast.tokens([text])[0], text, spans)
    with pytest.raises(ModelFormatError, match="spell the doctor's words"):
        fast.check(_Shifted(fast.tokens([text])[0]), text, spans)


class _Shifted:
    """Tokens whose offsets are off by some characters, as those of a faulty normalizer are."""

    def __init__(self, tokens: Any) -> None:
        self.ids = tokens.ids
        self._tokens = tokens

    def char_to_token(self, at: int) -> Any:
        return self._tokens.char_to_token(at - 3)

    def token_to_chars(self, at: int) -> Any:
        return self._tokens.token_to_chars(at)


_TOKENIZERS: dict[str, Any] = {}


def _cached(style: str) -> Any:
    if style not in _TOKENIZERS:
        _TOKENIZERS[style] = make_tokenizer(style)
    return _TOKENIZERS[style]


def _learned(sample: Encoded) -> list[int]:
    return [token for token, learned in zip(sample.ids, sample.labelled, strict=True) if learned]


def test_a_tokenizer_without_an_end_token_is_refused(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("layout", eos_token=None)
    with pytest.raises(ModelFormatError, match="end-of-turn token"):
        encode([say(*WORDS)], PAIR, tokenizer, 512)


def test_a_template_that_does_not_end_turns_is_refused(say: Callable[..., Dialogue]) -> None:
    template = (
        "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + '\n' }}{% endfor %}"
    )
    with pytest.raises(ModelFormatError, match="end-of-turn token"):
        encode([say(*WORDS)], PAIR, make_tokenizer("chatml", chat_template=template), 512)


def test_an_end_token_far_behind_the_words_does_not_count() -> None:
    tokenizer = make_tokenizer("layout")
    with pytest.raises(ModelFormatError):
        encode_text("Rest well. My head hurts. Monday.</s>", [(0, 10)], tokenizer)


def test_too_long_dialogues_lose_their_oldest_whole_exchanges(
    styled: tuple[str, Any], say: Callable[..., Dialogue]
) -> None:
    _, tokenizer = styled
    long = say(*WORDS, *WORDS, "Monday.", "Rest well.", system="Help.")
    expected = [
        say(*WORDS[2:], *WORDS, "Monday.", "Rest well.", system="Help."),
        say(*WORDS, "Monday.", "Rest well.", system="Help."),
        say(*WORDS[2:], "Monday.", "Rest well.", system="Help."),
        say("Monday.", "Rest well.", system="Help."),
    ]
    whole = encode_dialogue(long, PAIR, tokenizer)
    assert encode([long], PAIR, tokenizer, len(whole)).samples == (whole,)
    limit = len(whole)
    for shorter in (encode_dialogue(dialogue, PAIR, tokenizer) for dialogue in expected):
        found = encode([long], PAIR, tokenizer, limit - 1)
        assert found.samples == (shorter,)
        assert found.shortened == (0,)
        limit = len(shorter)
    with pytest.raises(DataFormatError, match=f"longer than {limit - 1} tokens"):
        encode([long], PAIR, tokenizer, limit - 1)


def test_what_is_left_out_is_counted(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    short, silent = say("Monday.", "Rest well."), say("Monday.")
    endless, long = say("Monday.", "Rest well. " * 40), say(*WORDS, *WORDS)
    limit = len(encode_dialogue(say(*WORDS), PAIR, tokenizer))
    found = encode([short, silent, endless, long, short], PAIR, tokenizer, limit)
    assert len(found.samples) == 3
    assert found.shortened == (3,)
    assert found.skipped == {
        1: "no doctor turn",
        2: f"its last exchange alone is longer than {limit} tokens",
    }
    assert found.tokens == sum(len(sample.ids) for sample in found.samples)
    assert found.labelled_tokens == 2 * 4 + 2 * 4  # "Rest well . <end>" twice, "Since when? <end>" and again


def test_nothing_to_learn_from_is_an_error_that_says_why(say: Callable[..., Dialogue]) -> None:
    tokenizer = make_tokenizer("chatml")
    with pytest.raises(DataFormatError, match="no doctor turn"):
        encode([say("Monday.")], PAIR, tokenizer, 512)
    with pytest.raises(DataFormatError, match="there was none"):
        encode([], PAIR, tokenizer, 512)


def test_the_newest_turns_survive_when_consecutive_turns_are_of_one_speaker(
    say: Callable[..., Dialogue],
) -> None:
    tokenizer = make_tokenizer("chatml")
    twice = Dialogue.from_messages(
        [
            {"role": "user", "content": "My head hurts."},
            {"role": "user", "content": "Monday."},
            {"role": "assistant", "content": "Rest well."},
        ]
    )
    whole = encode_dialogue(twice, PAIR, tokenizer)
    found = encode([twice], PAIR, tokenizer, len(whole) - 1)
    assert found.samples == (encode_dialogue(say("Monday.", "Rest well."), PAIR, tokenizer),)
