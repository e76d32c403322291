"""Chat templates in the styles of public models, each with a small tokenizer of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
MISTRAL = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ '[INST] ' + message['content']"
    " + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'] + eos_token }}{% else %}"
    "{{ raise_exception('only user and assistant') }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    "{% for message in messages %}{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n'"
    " + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
VICUNA = (
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ message['content'] + ' ' }}"
    "{% elif message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}"
    "{% else %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
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
    "mistral": (MISTRAL, ["<s>", "</s>", "[INST]", "[/INST]"], "<s>", "</s>", True),
    "gemma": (GEMMA, ["<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>"], "<bos>", "<eos>", True),
    "phi-3": (
        PHI_3,
        ["<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"],
        "<s>",
        "<|endoftext|>",
        False,
    ),
    "zephyr": (ZEPHYR, ["<s>", "</s>"], "<s>", "</s>", False),
    "vicuna": (VICUNA, ["<s>", "</s>"], "<s>", "</s>", True),
}

TEXTS = [
    "My head hurts.",
    "Since when?",
    "Monday.",
    "Rest well.",
    "### Instruction:\nHelp.\n\n### Patient:\nMonday.\n\n### Doctor:\nRest",
    "system\n",
    "user\n",
    "assistant\n",
    "[INST] <<SYS>>\nHelp.\n<</SYS>>\n\nMy head hurts. [/INST] Since when? ",
    "[INST] Monday. [/INST] Rest well. ",
    "<|system|>\n",
    "<|user|>\n",
    "<|assistant|>\n",
    "model\n",
    "USER: Monday. ASSISTANT: Rest well.",
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
