"""Chat templates in the style of public model families, each with a small real tokenizer of its own.

They are written for these tests: each has what makes its family peculiar, none is a copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

ALTERNATE = (
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}"
    "{{- raise_exception('Roles must alternate, the user first.') -}}{%- endif -%}"
)

LLAMA_2 = (
    "{%- if messages[0]['role'] == 'system' -%}"
    "{%- set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' -%}{%- set turns = messages[1:] -%}"
    "{%- else -%}{%- set system = '' -%}{%- set turns = messages -%}{%- endif -%}"
    "{%- for message in turns -%}" + ALTERNATE + "{%- if message['role'] == 'user' -%}"
    "{{- bos_token + '[INST] ' + (system if loop.first else '') + message['content'].strip() + ' [/INST]' -}}"
    "{%- else -%}{{- ' ' + message['content'].strip() + ' ' + eos_token -}}{%- endif -%}{%- endfor -%}"
)
LLAMA_3 = (
    "{{- bos_token -}}"
    "{%- if tools -%}{{- '<|start_header_id|>system<|end_header_id|>\n\nTools:\n' -}}"
    "{%- for tool in tools -%}{{- tool | tojson + '\n' -}}{%- endfor -%}{{- '<|eot_id|>' -}}{%- endif -%}"
    "{%- for message in messages -%}"
    "{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n' + message['content'] | trim + '<|eot_id|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\n\n' -}}{%- endif -%}"
)
# The system message goes into the last user turn, and nowhere once that has been answered.
MISTRAL = (
    "{%- if messages[0]['role'] == 'system' -%}{%- set system = messages[0]['content'] -%}"
    "{%- set turns = messages[1:] -%}{%- else -%}{%- set turns = messages -%}{%- endif -%}{{- bos_token -}}"
    "{%- for message in turns -%}" + ALTERNATE + "{%- if message['role'] == 'user' -%}"
    "{%- if tools and loop.last -%}{{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' -}}{%- endif -%}"
    "{%- if loop.last and system is defined -%}{{- '[INST] ' + system + '\n\n' + message['content'] + '[/INST]' -}}"
    "{%- else -%}{{- '[INST] ' + message['content'] + '[/INST]' -}}{%- endif -%}"
    "{%- else -%}{{- ' ' + message['content'] | trim + eos_token -}}{%- endif -%}{%- endfor -%}"
)
GEMMA = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('There is no system role.') }}{% endif %}"
    "{% for message in messages %}"
    + ALTERNATE
    + "{% set role = 'model' if message['role'] == 'assistant' else "
    "message['role'] %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PHI_3 = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\n' + message['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
QWEN_2 = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
# Thinking can be switched off, thoughts of earlier turns are cut away, tools go into the system turn.
QWEN_3 = (
    "{%- set first = messages[0]['content'] if messages[0]['role'] == 'system' else '' -%}"
    "{%- if tools -%}{{- '<|im_start|>system\n' -}}{%- if first -%}{{- first + '\n\n' -}}{%- endif -%}"
    "{{- '# Tools\n<tools>' -}}{%- for tool in tools -%}{{- '\n' -}}{{- tool | tojson -}}{%- endfor -%}"
    "{{- '\n</tools><|im_end|>\n' -}}{%- elif first -%}{{- '<|im_start|>system\n' + first + '<|im_end|>\n' -}}{%- endif -%}"
    "{%- set seen = namespace(last=0) -%}{%- for message in messages -%}{%- if message['role'] == 'user' -%}"
    "{%- set seen.last = loop.index0 -%}{%- endif -%}{%- endfor -%}"
    "{%- for message in messages -%}{%- set content = message['content'] -%}"
    "{%- if message['role'] == 'user' or (message['role'] == 'system' and not loop.first) -%}"
    "{{- '<|im_start|>' + message['role'] + '\n' + content + '<|im_end|>\n' -}}"
    "{%- elif message['role'] == 'assistant' -%}{%- if '</think>' in content -%}"
    "{%- set content = content.split('</think>')[-1].lstrip('\n') -%}{%- endif -%}{{- '<|im_start|>assistant\n' -}}"
    "{%- if loop.index0 > seen.last -%}{{- '<think>\n\n</think>\n\n' -}}{%- endif -%}"
    "{{- content + '<|im_end|>\n' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}"
    "{%- if enable_thinking is defined and enable_thinking is false -%}{{- '<think>\n\n</think>\n\n' -}}"
    "{%- endif -%}{%- endif -%}"
)
# Indented, so that it needs trim_blocks and lstrip_blocks.
ZEPHYR = """\
{% for message in messages %}
    {% if message['role'] == 'user' %}
{{ '<|user|>\n' + message['content'] + eos_token }}
    {% elif message['role'] == 'system' %}
{{ '<|system|>\n' + message['content'] + eos_token }}
    {% else %}
{{ '<|assistant|>\n' + message['content'] + eos_token }}
    {% endif %}
    {% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
    {% endif %}
{% endfor %}
"""
VICUNA = (
    "{%- if messages[0]['role'] == 'system' -%}{%- set turns = messages[1:] -%}{{- messages[0]['content'] -}}"
    "{%- else -%}{%- set turns = messages -%}{{- 'A chat between a curious user and an assistant.' -}}{%- endif -%}"
    "{%- for message in turns -%}{%- if message['role'] == 'user' -%}{{- ' USER: ' + message['content'] | trim -}}"
    "{%- else -%}{{- ' ASSISTANT: ' + message['content'] | trim + eos_token -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- ' ASSISTANT:' -}}{%- endif -%}"
)
FALCON = (
    "{% for message in messages %}{% if not loop.first %}{{ '\n' }}{% endif %}"
    "{% if message['role'] == 'system' %}{{ 'System: ' + message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ 'User: ' + message['content'] }}"
    "{% else %}{{ 'Falcon: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\nFalcon:' }}{% endif %}"
)
DEEPSEEK = (
    "{%- set ns = namespace(system='') -%}{%- for message in messages -%}{%- if message['role'] == 'system' -%}"
    "{%- set ns.system = ns.system + ('\n\n' if ns.system else '') + message['content'] -%}{%- endif -%}{%- endfor -%}"
    "{{- bos_token -}}{{- ns.system -}}{%- for message in messages -%}{%- if message['role'] == 'user' -%}"
    "{{- '<｜User｜>' + message['content'] -}}{%- elif message['role'] == 'assistant' -%}"
    "{%- set content = message['content'] -%}{%- if '</think>' in content -%}"
    "{%- set content = content.split('</think>') | last -%}{%- endif -%}"
    "{{- '<｜Assistant｜>' + content + '<｜end▁of▁sentence｜>' -}}{%- endif -%}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<｜Assistant｜><think>\n' -}}{%- endif -%}"
)
# Text and white space before the first tag, a line break after the last.
SPACIOUS = """
  Consultation
{% for message in messages %}
<{{ message['role'] }}>{{ message['content'] }}</s>
{% endfor %}

"""


@dataclass(frozen=True)
class Family:
    """A template and the tokens it needs.

    Args:
        template: the chat template, or None for a base that has none.
        special: special tokens; the first begins a text, the last ends it.
        plain: added tokens that are not special.
        system: whether a system message is taken as such, wherever the conversation stops.
        late_system: whether one in the middle of a conversation is.
        tools: whether tools are written.
        cue_is_prefix: whether the prompt for a turn is what stands before the turn in training.
    """

    template: str | None
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    system: bool = True
    late_system: bool = False
    tools: bool = False
    cue_is_prefix: bool = True


_IM = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
FAMILIES = {
    "llama-2": Family(LLAMA_2, ("<s>", "</s>"), cue_is_prefix=False),
    "llama-3": Family(
        LLAMA_3,
        ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        late_system=True,
        tools=True,
    ),
    "mistral": Family(
        MISTRAL,
        ("<s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "</s>"),
        system=False,
        tools=True,
        cue_is_prefix=False,
    ),
    "gemma": Family(GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>", "<eos>"), system=False),
    "phi-3": Family(
        PHI_3,
        ("<s>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
        late_system=True,
    ),
    "chatml": Family(CHATML, _IM, late_system=True),
    "qwen-2": Family(QWEN_2, _IM, late_system=True),
    "qwen-3": Family(
        QWEN_3, _IM, plain=("<think>", "</think>"), late_system=True, tools=True, cue_is_prefix=False
    ),
    "zephyr": Family(ZEPHYR, ("<s>", "</s>"), late_system=True),
    "vicuna": Family(VICUNA, ("<s>", "</s>"), cue_is_prefix=False),
    "falcon": Family(FALCON, ("<|endoftext|>",), late_system=True, cue_is_prefix=False),
    "deepseek": Family(
        DEEPSEEK,
        ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"),
        plain=("<think>", "</think>"),
        late_system=True,
        cue_is_prefix=False,
    ),
    "spacious": Family(SPACIOUS, ("<s>", "</s>"), late_system=True, cue_is_prefix=False),
    "layout": Family(None, ("<s>", "</s>"), late_system=True),
}
TOOLS = [
    {"type": "function", "function": {"name": "look_up", "description": "Find a drug.", "parameters": {}}}
]


def make_tokenizer(
    special: tuple[str, ...], plain: tuple[str, ...] = (), template: str | None = None, normalizer: Any = None
) -> Any:
    """A byte-level tokenizer without merges: a token a byte, and the tokens that are added."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    if normalizer is not None:
        backend.normalizer = normalizer
    backend.add_special_tokens(list(special))
    backend.add_tokens(list(plain))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=special[0],
        eos_token=special[-1],
        chat_template=template,
        clean_up_tokenization_spaces=False,
    )


@cache
def tokenizer_of(name: str) -> Any:
    """The tokenizer of a family; the same object every time, so not to be changed."""
    family = FAMILIES[name]
    return make_tokenizer(family.special, family.plain, family.template)
