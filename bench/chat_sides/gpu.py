"""On a GPU: a batch through `LocalEngine` against transformers' own `generate_batch`, a Llama of 8B shape in bf16.

Random weights; 64 prompts of the serving form, 64 new tokens each, greedy, in both. `generate_batch` has paged
attention and continuous batching. With the shape "tiny" all of it runs on a CPU, to see that it does.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from chat_sides.local import SHAPE, Tiny, first_token, questions
from chat_sides.rounds import Contest, at_least
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.inference.engine import apply_prompt

EIGHT_B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "max_position_embeddings": 8192,
}
WORDS = {"8b": 64, "tiny": 4}
CHATS = {"8b": 64, "tiny": 4}
PAGED = "transformers' generate_batch"


def measured(shape: str, rounds: int) -> list[dict[str, Any]]:
    """The rows of the table."""
    import torch

    if shape == "8b":
        if not torch.cuda.is_available():
            raise SystemExit(
                "bench/chat.py --gpu: no CUDA device is at hand; --shape tiny tries it out on a CPU"
            )
        tiny = Tiny.made(EIGHT_B, dtype="bfloat16", device="cuda")
    else:
        tiny = Tiny.made({**SHAPE, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2})
    asked = questions(CHATS[shape])
    rows = batching(tiny, asked, WORDS[shape]).rows(rounds)
    return rows + first_token(tiny).rows(rounds)


def batching(tiny: Tiny, asked: list[str], words: int) -> Contest:
    """Tokens written a second over all chats."""
    engine = tiny.engine()
    requests = [
        ChatRequest(({"role": "user", "content": text},), Sampling(max_tokens=words)) for text in asked
    ]
    sides = {
        "LocalEngine.generate_batch": _ours(engine, requests),
        PAGED: _paged(tiny, engine, requests, words),
    }
    bar = at_least(1, PAGED, more_is_better=True)
    return Contest(f"{len(asked)} chats, {words} tokens each", "tokens/s", sides, bar, more_is_better=True)


def _ours(engine: LocalEngine, requests: list[ChatRequest]) -> Callable[[], float]:
    def measured() -> float:
        began = time.perf_counter()
        written = sum(reply.usage.output_tokens for reply in engine.generate_batch(requests))
        return written / (time.perf_counter() - began)

    return measured


def _paged(tiny: Tiny, engine: LocalEngine, requests: list[ChatRequest], words: int) -> Callable[[], float]:
    from transformers import GenerationConfig

    prompts = [
        tiny.tokenizer.apply_chat_template(
            apply_prompt(engine.prompt, request), add_generation_prompt=True, return_dict=False
        )
        for request in requests
    ]
    settings = GenerationConfig(max_new_tokens=words, do_sample=False, eos_token_id=2, pad_token_id=0)

    def measured() -> float:
        began = time.perf_counter()
        found = tiny.model.generate_batch(
            inputs=prompts, generation_config=settings, progress_bar=False, persistent_manager=True
        )
        written = sum(len(output.generated_tokens) for output in found.values())
        return written / (time.perf_counter() - began)

    return measured
