"""The task that every loop is given: the same tokens, the same base, the same adapters."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.training.data import Encoded

HIDDEN, LAYERS, HEADS, INTERMEDIATE, VOCABULARY = 256, 4, 4, 688, 8192
RANK, ALPHA = 8, 16
BOTTLENECK, PARALLEL_TARGETS = 64, ("up_proj", "down_proj")
RATE, BETA = 1e-3, 0.95
STEP, HELD_OUT, MAX_LENGTH = 32, 100, 512
WARM_UP = 2  # steps that are not measured


@dataclass(frozen=True)
class Task:
    folder: Path
    training: list[Encoded]
    held_out: list[Encoded]

    @classmethod
    def load(cls, folder: Path) -> Task:
        record = json.loads((folder / "task.json").read_text("utf-8"))
        parts = [
            [Encoded(tuple(ids), tuple(map(bool, labels))) for ids, labels in record[name]]
            for name in ("training", "held_out")
        ]
        return cls(folder, *parts)

    @property
    def steps(self) -> int:
        return len(self.training) // STEP

    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder / "base")

    def base(self, dtype: Any = None) -> Any:
        import torch
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self.folder / "base", dtype=dtype or torch.float32)

    def lora(self, dtype: Any = None) -> Any:
        import torch
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            r=RANK, lora_alpha=ALPHA, lora_dropout=0.0, target_modules="all-linear", task_type="CAUSAL_LM"
        )
        model = self.base(dtype)
        torch.manual_seed(1)
        return get_peft_model(model, config)


def same_start(model: Any) -> Any:
    """Give a parallel adapter the same weights whichever code made it: D normal, U zero."""
    import torch

    numbers = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.requires_grad:
                continue
            if parameter.shape[0] == BOTTLENECK:
                fresh = torch.randn(parameter.shape, generator=numbers) / parameter.shape[1] ** 0.5
                parameter.copy_(fresh)
            else:
                parameter.zero_()
    return model


def real_dialogues(file: Path | None, n: int) -> tuple[list[Dialogue], str]:
    """The published dialogues where they are; else some written from the starter table."""
    if file and file.is_file():
        from chatdoctor_hub.corpus import read_dialogues

        return list(read_dialogues(file))[:n], file.name
    from chatdoctor_hub.corpus import synthesize
    from chatdoctor_hub.knowledge import DiseaseTable

    return synthesize(DiseaseTable.starter(), n=n, seed=0), "the starter table's diseases"


def prepare(folder: Path, file: Path | None, n: int) -> str:
    """Write tokenizer, base (rounded to bfloat16, so that every precision starts from the same) and tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from chatdoctor_hub.prompts import PromptPair
    from chatdoctor_hub.training.data import encode

    dialogues, source = real_dialogues(file, n + HELD_OUT)
    random.Random(0).shuffle(dialogues)
    pair = PromptPair.load("chatdoctor@1")
    tokenizer = _tokenizer(dialogues)
    torch.manual_seed(0)
    shape = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        max_position_embeddings=1024,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = LlamaForCausalLM(shape).to(torch.bfloat16).float()
    model.save_pretrained(folder / "base")
    tokenizer.save_pretrained(folder / "base")
    samples = encode(dialogues, pair, tokenizer, MAX_LENGTH).samples
    held_out, training = samples[:HELD_OUT], samples[HELD_OUT:]
    training = training[: len(training) // STEP * STEP]
    parts = {
        name: [[list(map(int, item.ids)), list(map(int, item.labelled))] for item in part]
        for name, part in (("training", training), ("held_out", held_out))
    }
    (folder / "task.json").write_text(json.dumps(parts), "utf-8")
    lengths = sorted(len(item) for item in training)
    labelled = sum(sum(item.labelled) for item in training) / sum(lengths)
    return (
        f"{len(training)} dialogues from {source}, {sum(lengths):,} tokens (median {lengths[len(lengths) // 2]}, "
        f"longest {lengths[-1]}), {100 * labelled:.0f} % of them learned, steps of {STEP} dialogues"
    )


def _tokenizer(dialogues: list[Dialogue]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    special = ["<|pad|>", "<|begin|>", "<|end|>"]
    roles = ["<|system|>", "<|user|>", "<|assistant|>"]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[*special, *roles],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((turn.content for item in dialogues for turn in item.turns), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=special[0],
        bos_token=special[1],
        eos_token=special[2],
        additional_special_tokens=roles,
        chat_template=(
            "{{ bos_token }}{% for message in messages %}"
            "{{ '<|' ~ message['role'] ~ '|>' ~ message['content'] ~ eos_token }}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
        ),
        clean_up_tokenization_spaces=False,
    )


def held_out_loss(model: Any, samples: list[Encoded]) -> float:
    """Nats a learned token, in float32, each dialogue alone, by the model's own forward pass."""
    import torch

    model = model.float().eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for sample in samples:
            ids = torch.tensor([sample.ids])
            learned = torch.tensor(sample.labelled[1:])
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1][learned]
            total += torch.nn.functional.cross_entropy(logits, ids[0, 1:][learned], reduction="sum").item()
            count += int(learned.sum())
    return total / count
