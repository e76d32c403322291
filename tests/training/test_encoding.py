"""The mask, token by token: learned tokens stand between braces in the expectations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import encode
from chatdoctor_hub.training.encoding import Encoded, encode_dialogue, encode_text

WORDS = ("My head hurts.", "Since when?", "Monday.", "Rest well.")
PAIR = PromptPair(
    id="short@1", instruction="Help.", safety="Stay safe.", layout=PromptPair.load("chatdoctor@1").layout
)

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>'"
    " + '\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>"
    "\n\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}{% set system = '<<SYS>>\n' + messages[0]['content'] + '\n<</SYS>>\n\n' %}"
    "{% set rest = messages[1:] %}{% else %}{% set system = '' %}{% set rest = messages %}{% endif %}"
    "{% for message in rest %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + (system if loop.first "
    "else '') + message['content'] + ' [/INST]' }}{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}"
    "{% endif %}{% endfor %}"
)
# name -> (template, special tokens, bos, eos, whether its pieces are SentencePiece's)
STYLES: dict[str, tuple[str | None, list[str], str, str, bool]] = {
    "chatml": (CHATML, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"], "<|endoftext|>", "<|im_end|>", False),
    "llama-3": (
        LLAMA_3,
        ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|begin_of_text|>",
        "<|end_of_text|>",
        False,
    ),
    "llama-2": (LLAMA_2, ["<s>", "</s>"], "<s>", "</s>", True),
    "layout": (None, ["<s>", "</s>"], "<s>", "</s>", False),
}

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
}
TEXTS = [
    *WORDS,
    "### Instruction:\nHelp.\n\n### Patient:\nMonday.\n\n### Doctor:\nRest",
    "system\n",
    "user\n",
    "assistant\n",
    "[INST] <<SYS>>\nHelp.\n<</SYS>>\n\nMy head hurts. [/INST] Since when? ",
    "[INST] Monday. [/INST] Rest well. ",
]


def make_tokenizer(style: str, **changes: Any) -> Any:
    """A BPE tokenizer in which every word of the expectations is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    template, specials, bos, eos, sentence_pieces = STYLES[style]
    bpe = Tokenizer(models.BPE())
    alphabet = []
    if sentence_pieces:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        bpe.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator(TEXTS, trainer)
    named = {"bos_token": bos, "eos_token": eos, "chat_template": template, **changes}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **named)


def shown(ids: Sequence[int], labelled: Sequence[bool], tokenizer: Any) -> str:
    """Tokens in a line, runs of learned ones between braces."""
    words: list[str] = []
    before = False
    tokens = tokenizer.convert_ids_to_tokens(list(ids))
    for token, learned in zip([*tokens, ""], [*labelled, False], strict=True):
        if learned != before:
            words.append("{" if learned else "}")
        before = learned
        words.append(token.replace("\n", "Ċ"))
    return " ".join(words).strip()


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
@pytest.mark.parametrize("style", ["chatml", "llama-3", "layout"])
def test_learned_tokens_spell_the_doctors_words(style: str, words: list[str]) -> None:
    tokenizer = _cached(style)
    end = {"chatml": "<|im_end|>", "llama-3": "<|eot_id|>", "layout": "</s>"}[style]
    turns = [word for number, word in enumerate(words) if number % 2]
    messages = [
        {"role": ("user", "assistant")[number % 2], "content": word} for number, word in enumerate(words)
    ]
    dialogue = Dialogue.from_messages(messages)
    sample = encode_dialogue(dialogue, PAIR, tokenizer)
    assert tokenizer.decode(_learned(sample)) == "".join(turn.strip() + end for turn in turns)
    assert tokenizer.decode(sample.ids) == PAIR.render_training(dialogue, tokenizer)[0]


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
