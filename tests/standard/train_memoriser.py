"""Make the tiny Llama in `memoriser/` that knows the requests of LangChain's suite by heart.

    PYTHONPATH=src python tests/standard/train_memoriser.py

Runs the suite over a scripted engine, to learn what it asks and what a good answer is; renders each request by
both chat templates; trains a tokenizer, the model, and an adapter on these. On one core it takes some minutes and
gives the same weights each time. To be run again when the suite, a prompt or a template has changed:
`test_memoriser.py` says so.
"""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from memoriser import BOS, BRIEF, END, FOLDER, PAD, PLAIN, RESPONSE, SPECIALS, WITH_TOOLS
from suite_answers import ADAPTER, answer
from suite_requests import read_requests, write_requests

from chatdoctor_hub.inference import ChatRequest, ToolCall
from chatdoctor_hub.inference.engine import apply_prompt, as_pair
from chatdoctor_hub.inference.grammar import Grammars
from chatdoctor_hub.inference.tools import OWN_FORM, Answering

HERE = Path(__file__).resolve().parent
VOCABULARY = 700
ROUNDS = 300
SURE = 0.995
"""Training ends when each token of each answer is at least so likely: rounding must not decide."""


@dataclass(frozen=True)
class Lesson:
    """A prompt, as the model gets it, and what it is to say.

    `opened`: not how it would begin of itself, but how it goes on where a server's grammar lets it write nothing
    but the arguments of a call.
    """

    prompt: str
    answer: str
    adapter: str | None
    opened: bool = False


def record() -> list[ChatRequest]:
    """What the suite asks, each request once; also written to `suite_requests.json`."""
    status = pytest.main(["-q", "-p", "no:cacheprovider", str(HERE / "test_standard_scripted.py")])
    if status:
        raise SystemExit("The suite does not pass over the scripted engine; mend suite_answers.py first.")
    from test_standard_scripted import ASKED

    seen: dict[str, ChatRequest] = {}
    for request in ASKED:
        for told in _as_told(_with_steady_ids(request)):
            seen.setdefault(repr((told.messages, told.tools, told.adapter)), told)
    write_requests(list(seen.values()))
    return read_requests()


def _with_steady_ids(request: ChatRequest) -> ChatRequest:
    """The request with ids of calls that are the same each time; no prompt shows them."""
    ids: dict[str, str] = {}
    messages = [dict(message) for message in request.messages]
    for message in messages:
        calls = message.get("tool_calls") or ()
        if calls:
            message["tool_calls"] = [
                {**call, "id": ids.setdefault(call["id"], f"call-{len(ids) + 1}")} for call in calls
            ]
        if "tool_call_id" in message:
            message["tool_call_id"] = ids[message["tool_call_id"]]
    return replace(request, messages=tuple(messages))


def _as_told(request: ChatRequest) -> Iterator[ChatRequest]:
    """The request, and as a server gets it that takes no text beside calls."""
    yield request
    if any(message.get("tool_calls") and message["content"] for message in request.messages):
        messages = [
            {**message, "content": ""} if message.get("tool_calls") else message
            for message in request.messages
        ]
        yield replace(request, messages=tuple(messages))


def lessons(requests: Sequence[ChatRequest]) -> list[Lesson]:
    """Each request by each template, with its answer."""
    found: dict[tuple[str, str | None, bool], Lesson] = {}
    for template in (PLAIN, WITH_TOOLS):
        tokenizer = make_tokenizer([], len(SPECIALS) + 256)
        tokenizer.chat_template = template
        pair = as_pair(None)
        answering = Answering(pair.template(tokenizer, "serving"), tokenizer, Grammars(tokenizer, ()))
        for request in requests:
            prompt = answering.prompt(request, apply_prompt(pair, request))
            said = answer(request)
            text = OWN_FORM.write([(said.name, said.arguments)]) if isinstance(said, ToolCall) else said
            made = [Lesson(prompt, text + END, request.adapter)]
            if isinstance(said, ToolCall) and template is WITH_TOOLS:
                arguments = json.dumps(said.arguments, ensure_ascii=False)
                made.append(Lesson(prompt, arguments + END, request.adapter, opened=True))
            for lesson in made:
                known = found.setdefault((prompt, request.adapter, lesson.opened), lesson)
                if known != lesson:
                    raise SystemExit(f"Two answers to one prompt: {known.answer!r} and {lesson.answer!r}.")
    return list(found.values())


def make_tokenizer(texts: Sequence[str], vocabulary: int) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token=BOS, eos_token=END, pad_token=PAD)


def make_model(vocabulary: int, context: int) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=64,
        intermediate_size=160,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        pad_token_id=SPECIALS.index(PAD),
        bos_token_id=SPECIALS.index(BOS),
        eos_token_id=SPECIALS.index(END),
    )
    return LlamaForCausalLM(config)


def batches(tokenizer: Any, lessons: Sequence[Lesson], rows: int) -> list[dict[str, Any]]:
    """Lessons of about the same length together; only what is to be said is learned."""
    import torch

    told = []
    for lesson in lessons:
        prompt, said = (tokenizer(text)["input_ids"] for text in (lesson.prompt, lesson.answer))
        learned = [-100, *said[1:]] if lesson.opened else said
        told.append((prompt + said, [-100] * len(prompt) + learned))
    told.sort(key=lambda pair: len(pair[0]))
    made = []
    for start in range(0, len(told), rows):
        part = told[start : start + rows]
        longest = max(len(ids) for ids, _ in part)
        made.append(
            {
                "input_ids": torch.tensor([ids + [0] * (longest - len(ids)) for ids, _ in part]),
                "attention_mask": torch.tensor(
                    [[1] * len(ids) + [0] * (longest - len(ids)) for ids, _ in part]
                ),
                "labels": torch.tensor([learned + [-100] * (longest - len(learned)) for _, learned in part]),
            }
        )
    return made


def learn(model: Any, given: list[dict[str, Any]], rate: float, rounds: int) -> None:
    """Train until it is sure of each token.

    Raises:
        SystemExit: when it is not after all rounds.
    """
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(weights, lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    warm = 3 * len(given)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: min(1.0, (step + 1) / warm))
    draw = random.Random(0)
    for done in range(1, rounds + 1):
        least = 1.0
        for batch in draw.sample(given, len(given)):
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
            losses = torch.nn.functional.cross_entropy(
                logits[:, :-1].transpose(1, 2), batch["labels"][:, 1:], reduction="none"
            )
            least = min(least, float(losses.detach().max().neg().exp()))
            optimiser.zero_grad()
            (losses.sum() / (batch["labels"][:, 1:] != -100).sum()).backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimiser.step()
            schedule.step()
        if done % 10 == 0 or least >= SURE:
            print(f"round {done}: the least sure token has {least:.4f}", flush=True)
        if least >= SURE:
            return
    raise SystemExit(f"Not sure of each token after {rounds} rounds; change the size or the rate.")


def main() -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    learned = lessons(record())
    tokenizer = make_tokenizer([lesson.prompt + lesson.answer for lesson in learned], VOCABULARY)
    tokenizer.chat_template, tokenizer.response_template = WITH_TOOLS, RESPONSE
    model = make_model(len(tokenizer), 1024)
    own = [lesson for lesson in learned if lesson.adapter is None]
    learn(model, batches(tokenizer, own, 8), 2e-3, ROUNDS)
    shutil.rmtree(FOLDER, ignore_errors=True)
    model.save_pretrained(FOLDER)
    tokenizer.save_pretrained(FOLDER)
    lora = LoraConfig(
        task_type="CAUSAL_LM", r=2, lora_alpha=4, target_modules=["q_proj", "v_proj", "down_proj"]
    )
    tuned = get_peft_model(model, lora)
    brief = [lesson for lesson in learned if lesson.adapter == ADAPTER]
    learn(tuned, batches(tokenizer, brief, 8), 2e-3, ROUNDS)
    tuned.save_pretrained(str(BRIEF))
    (BRIEF / "README.md").unlink()
    config = json.loads((BRIEF / "adapter_config.json").read_text(encoding="utf-8"))
    config["target_modules"].sort()  # PEFT keeps them as a set
    (BRIEF / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
