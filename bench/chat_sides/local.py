"""In this process, on a CPU: a batch, many calls at once, and the first token, with a tiny random Llama."""

from __future__ import annotations

import asyncio
import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from chat_sides.rounds import Contest, at_least
from chatdoctor_hub import ChatDoctor, PromptPair
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling
from chatdoctor_hub.inference.engine import apply_prompt
from chatdoctor_hub.knowledge import DiseaseTable

CHATS, WORDS = 64, 32
PIPELINE = "ChatHuggingFace on a pipeline"
SHAPE = {
    "hidden_size": 256,
    "intermediate_size": 688,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
}
TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|> {{ message['content'] }}\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@dataclass(frozen=True)
class Tiny:
    """A random Llama and its tokenizer, whose every token is plain text."""

    model: Any
    tokenizer: Any

    @classmethod
    def made(cls, shape: dict[str, int] = SHAPE, dtype: str = "float32", device: str = "cpu") -> Tiny:
        import torch
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

        tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        special = ["<pad>", "<s>", "</s>", "<unk>"]
        tokenizer.train_from_iterator(
            _texts(), trainers.BpeTrainer(vocab_size=4096, special_tokens=special, show_progress=False)
        )
        fast = PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            pad_token="<pad>",
            bos_token="<s>",
            eos_token="</s>",
            unk_token="<unk>",
        )
        fast.chat_template, fast.padding_side = TEMPLATE, "left"
        torch.manual_seed(0)
        config = LlamaConfig(
            **{"vocab_size": len(fast), **shape}, pad_token_id=0, bos_token_id=1, eos_token_id=2
        )
        before = torch.get_default_dtype()
        torch.set_default_dtype(getattr(torch, dtype))
        try:
            with torch.device(device):
                model = LlamaForCausalLM(config)
        finally:
            torch.set_default_dtype(before)
        # Greedy text of weights near 0 is one word over and over.
        with torch.no_grad():
            model.lm_head.weight.mul_(20)
        return cls(model.eval(), fast)

    def engine(self, prompt: PromptPair | None = None, **settings: Any) -> LocalEngine:
        return LocalEngine.of(self.model, self.tokenizer, prompt, **settings)


def _texts() -> list[str]:
    pair = PromptPair.load("chatdoctor@1")
    said = [fact for disease in DiseaseTable.starter() for fact in (disease.name, *disease.symptoms)]
    return [*questions(), pair.serving_text, TEMPLATE, "<|system|> <|user|> <|assistant|>\n", *said]


def questions(count: int = CHATS) -> list[str]:
    """What patients ask, of different lengths."""
    told = " and it gets worse at night when I lie down"
    return [
        f"I have had a cough for {number} days{told * (number % 5)}. What should I do?"
        for number in range(count)
    ]


def batching(tiny: Tiny) -> Contest:
    """Seconds for 64 chats of 32 tokens; the peer is given our very messages, so that both read the same prompt."""
    engine = tiny.engine()
    llm = ChatDoctor(engine=engine, max_tokens=WORDS)
    texts: dict[str, list[str]] = {}
    asked = questions()

    def ours() -> float:
        began = time.perf_counter()
        texts["ours"] = [message.text for message in llm.batch(asked)]
        return time.perf_counter() - began

    sides: dict[str, Callable[[], float]] = {"ChatDoctor.batch": ours}
    absent = []
    if importlib.util.find_spec("langchain_huggingface") is None:
        absent.append(PIPELINE)
    else:
        sides[PIPELINE] = _pipeline(tiny, engine, asked, texts)

    def agree() -> bool:
        theirs = [text.strip() for text in texts.get("theirs", [])]
        return [text.strip() for text in texts["ours"]] == theirs

    bar = at_least(8, PIPELINE, more_is_better=False, agree=agree)
    return Contest(
        f"{CHATS} chats in a batch",
        "s",
        sides,
        replace(bar, said=f"{bar.said}, identical text"),
        absent=absent,
        note=lambda: "the same text" if agree() else "other text",
    )


def _pipeline(
    tiny: Tiny, engine: LocalEngine, asked: list[str], texts: dict[str, list[str]]
) -> Callable[[], float]:
    from langchain_core.messages import HumanMessage, SystemMessage
    from langchain_huggingface import ChatHuggingFace, HuggingFacePipeline
    from transformers import pipeline

    generator = pipeline("text-generation", model=tiny.model, tokenizer=tiny.tokenizer, device="cpu")
    # It heeds these with the call only, and asks its pipeline once a chat, whatever the batch size.
    settings = {"max_new_tokens": WORDS, "do_sample": False, "return_full_text": False}
    made = HuggingFacePipeline(pipeline=generator, model_id="tiny", batch_size=CHATS)
    peer = ChatHuggingFace(llm=made, tokenizer=tiny.tokenizer, model_id="tiny")
    kinds = {"system": SystemMessage, "user": HumanMessage}
    prompts = [
        [
            kinds[message["role"]](message["content"])
            for message in apply_prompt(engine.prompt, ChatRequest(({"role": "user", "content": text},)))
        ]
        for text in asked
    ]

    def theirs() -> float:
        began = time.perf_counter()
        texts["theirs"] = [str(message.content) for message in peer.batch(prompts, pipeline_kwargs=settings)]
        return time.perf_counter() - began

    return theirs


def calling(tiny: Tiny) -> Contest:
    """Seconds for 64 calls at once from an event loop, against the same 64 as a batch."""
    llm = ChatDoctor(engine=tiny.engine(), max_tokens=WORDS)
    runner = asyncio.new_event_loop()
    asked = questions()

    async def all_at_once() -> float:
        began = time.perf_counter()
        await asyncio.gather(*(llm.ainvoke(text) for text in asked))
        return time.perf_counter() - began

    def as_a_batch() -> float:
        began = time.perf_counter()
        llm.batch(asked)
        return time.perf_counter() - began

    sides = {"ainvoke": lambda: runner.run_until_complete(all_at_once()), "ChatDoctor.batch": as_a_batch}
    return Contest(
        f"{CHATS} calls at once, local",
        "s",
        sides,
        at_least(1 / 1.2, "ChatDoctor.batch", more_is_better=False),
    )


def first_token(tiny: Tiny, tokens: int = 300) -> Contest:
    """Milliseconds to the first piece of a stream under a safety prompt of so many tokens, second call on."""
    pair, read = _long_pair(tiny, tokens)
    engines = {
        "with prefix reuse": tiny.engine(pair),
        "without": tiny.engine(pair, prefix_cache=False),
    }

    def timed(engine: LocalEngine) -> Callable[[], float]:
        asked = iter(range(10**9))

        def measured() -> float:
            message = {"role": "user", "content": questions()[next(asked) % CHATS]}
            began = time.perf_counter()
            deltas = engine.stream(ChatRequest((message,), Sampling(max_tokens=4)))
            next(deltas)
            took = time.perf_counter() - began
            deltas.close()
            return 1000 * took

        return measured

    return Contest(
        "the first token",
        "ms",
        {name: timed(engine) for name, engine in engines.items()},
        at_least(2, "without", more_is_better=False),
        note=lambda: f"{read} tokens of safety prompt",
    )


def _long_pair(tiny: Tiny, tokens: int) -> tuple[PromptPair, int]:
    base = PromptPair.load("chatdoctor@1")
    words = base.safety.split()
    safety: list[str] = []
    while len(tiny.tokenizer(" ".join(safety))["input_ids"]) < tokens:
        safety.append(words[len(safety) % len(words)])
    text = " ".join(safety)
    return replace(base, id="long@1", safety=text), len(tiny.tokenizer(text)["input_ids"])
