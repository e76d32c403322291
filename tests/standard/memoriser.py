"""The tiny Llama that knows LangChain's suite by heart: where it lies, its chat templates.

`train_memoriser.py` beside this made it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "memoriser"
BRIEF = FOLDER / "brief"
"""The adapter of `suite_answers.ADAPTER`."""

PAD, BOS, END = "<|pad|>", "<|bos|>", "<|end|>"
SPECIALS = [PAD, BOS, END, "<|tools|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>"]
PLAIN = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""A template that knows nothing of tools, so that they are told in the library's own form."""

WITH_TOOLS = (
    "{{ bos_token }}{% if tools %}{{ '<|tools|>' }}"
    "{% for tool in tools %}{{ (tool['function'] | tojson) + '\n' }}{% endfor %}{{ '<|end|>' }}{% endif %}"
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + (message['content'] or '') }}"
    "{% for call in message['tool_calls'] or [] %}"
    "{{ '<tool_call>\n{\"name\": \"' + call['function']['name'] + '\", \"arguments\": ' }}"
    "{% set given = call['function']['arguments'] %}{{ given if given is string else (given | tojson) }}"
    "{{ '}\n</tool_call>' }}{% if not loop.last %}{{ '\n' }}{% endif %}"
    "{% endfor %}{{ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""A template that writes tools, calls and results; it is the one in the folder. Arguments may come as text."""

RESPONSE = {
    "defaults": {"role": "assistant"},
    "start_anchor": "<|assistant|>",
    "fields": {
        "tool_calls": {
            "open_pattern": r"\s*<tool_call>",
            "close": "</tool_call>",
            "repeats": True,
            "content": "json",
            "transform": {"type": "function", "function": "{content}"},
        },
        "content": {"close": END, "content": "text"},
    },
}
"""How calls are told apart in an answer; `transformers serve` gives no calls without it."""


def plain_copy(to: Path) -> Path:
    """The model in a folder of its own, with the template that knows nothing of tools."""
    from transformers import AutoTokenizer

    shutil.copytree(FOLDER, to)
    tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    tokenizer.chat_template, tokenizer.response_template = PLAIN, None
    tokenizer.save_pretrained(to)
    return to
