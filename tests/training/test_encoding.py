"""The mask, token by token: learned tokens stand between braces in the expectations."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import encode
from chatdoctor_hub.training.encoding import encode_dialogue, encode_text

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
# name -> (template, special tokens, bos, eos, pieces like SentencePiece)
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
        "<|start_header_id|> system <|end_header_id|> ĊĊ Help . <|eot_id|> "
        "<|start_header_id|> user <|end_header_id|> ĊĊ My Ġhead Ġhurts . <|eot_id|> "
        "<|start_header_id|> assistant <|end_header_id|> ĊĊ { Since Ġwhen ? <|eot_id|> } "
        "<|start_header_id|> user <|end_header_id|> ĊĊ Monday . <|eot_id|> "
        "<|start_header_id|> assistant <|end_header_id|> ĊĊ { Rest Ġwell . <|eot_id|> }"
    ),
    # The space before </s> is the template's; without it the end would never follow the words.
    "llama-2": (
        "<s> [INST] ▁<<SYS>>\nHelp.\n<</SYS>>\n\nMy ▁head ▁hurts. ▁[/INST] { ▁Since ▁when? ▁ </s> } "
        "<s> [INST] ▁Monday. ▁[/INST] { ▁Rest ▁well. ▁ </s> }"
    ),
    "layout": (
        "### ĠInstruction : Ċ Help . ĊĊ ### ĠPatient : Ċ My Ġhead Ġhurts . ĊĊ "
        "### ĠDoctor : Ċ { Since Ġwhen ? </s> } ĊĊ ### ĠPatient : Ċ Monday . ĊĊ "
        "### ĠDoctor : Ċ { Rest Ġwell . </s> } ĊĊ"
    ),
}


def make_tokenizer(style: str, **changes: Any) -> Any:
    """A BPE tokenizer in which every word of the expectations is one token."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    template, specials, bos, eos, pieces = STYLES[style]
    bpe = Tokenizer(models.BPE(unk_token=None))
    if pieces:
        bpe.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
        bpe.decoder = decoders.Metaspace(prepend_scheme="first")
    else:
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        bpe.decoder = decoders.ByteLevel()
    alphabet = [chr(number) for number in range(33, 127)] if pieces else pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    text = EXPECTED[style].replace("Ġ", " ").replace("Ċ", "\n").replace("▁", " ")
    pattern = "|".join(map(re.escape, [*specials, "{", "}"]))
    texts = [piece for piece in re.split(pattern, text) if piece.strip(" ")]
    # The expectation's tokens stand apart by spaces that the text does not have.
    tokens = EXPECTED[style].replace("Ġ", " ").replace("Ċ", "\n").replace("▁", " ").split("{")
    assert tokens
    shown = [word for word in _split(EXPECTED[style]) if word not in (*specials, "{", "}")]
    bpe.train_from_iterator([_plain(word) for word in shown] * 8 + texts, trainer)
    named = {"bos_token": bos, "eos_token": eos, "chat_template": template, **changes}
    return PreTrainedTokenizerFast(tokenizer_object=bpe, **named)
