"""A tiny Llama with random weights, its tokenizer and an adapter, made on the spot: nothing is fetched."""

from __future__ import annotations

import copy
import hashlib
import shutil
from pathlib import Path
from typing import Any

TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
SPECIALS = ["<|pad|>", "<|bos|>", "<|eos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
LINES = [
    "I have had a sore throat and a runny nose since Monday.",
    "Drink enough, rest, and see a doctor if the fever lasts.",
    "How long have you had the pain, and where is it worst?",
    "My knee hurts when I climb the stairs; it was never like that.",
    "Übelkeit, vómitos, 頭痛, головная боль, 😷🤒 and the rest.",
]


def make_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=SPECIALS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(LINES * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe, bos_token="<|bos|>", eos_token="<|eos|>", pad_token="<|pad|>"
    )
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def make_model(vocabulary: int, seed: int = 0, context: int = 640) -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    # Weights large enough that the likeliest token is so by far: rounding must not decide.
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        initializer_range=0.3,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    return LlamaForCausalLM(config).eval()


OTHER_KINDS = ("learned positions", "sliding window", "no position ids", "normed queries")


def make_other_model(kind: str, vocabulary: int) -> Any:
    """A model that knows in another way where a token stands."""
    import torch
    from transformers import AutoModelForCausalLM, BloomConfig, GPT2Config, MistralConfig, Qwen3Config

    size = {"vocab_size": vocabulary, "hidden_size": 48, "initializer_range": 0.3, "eos_token_id": 2}
    llama = {
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    config = {
        "learned positions": GPT2Config(**size, n_layer=2, n_head=4, n_positions=640),
        "sliding window": MistralConfig(**size, **llama, sliding_window=32),
        "no position ids": BloomConfig(**size, n_layer=2, n_head=4),
        "normed queries": Qwen3Config(**size, **llama, head_dim=12),
    }[kind]
    torch.manual_seed(3)
    return AutoModelForCausalLM.from_config(config).eval()


def make_adapter(model_folder: Path, folder: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model_folder)
    torch.manual_seed(7)
    tuned = get_peft_model(
        base,
        LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    tuned.save_pretrained(str(folder))


def make_series_adapter(model_folder: Path, folder: Path) -> None:
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM

    from chatdoctor_hub.adapters import SeriesConfig

    torch.manual_seed(7)
    tuned = get_peft_model(
        AutoModelForCausalLM.from_pretrained(model_folder),
        SeriesConfig(task_type="CAUSAL_LM", bottleneck_size=4, init="bert", scale=40.0),
    )
    tuned.save_pretrained(str(folder))


def make_release(folder: Path, model_folder: Path, adapter_folder: Path, tokenizer: Any) -> None:
    """What `prepare_release` writes, less card and plot: what an engine needs of it."""
    from chatdoctor_hub.models import digest_of
    from chatdoctor_hub.prompts import PromptPair
    from chatdoctor_hub.release import Manifest
    from chatdoctor_hub.release.manifest import BaseModelRecord

    pair = PromptPair.load("chatdoctor@1")
    shutil.copytree(adapter_folder, folder / "adapter")
    shutil.copytree(model_folder, folder / "base")
    both = copy.copy(tokenizer)
    both.chat_template = {
        "default": pair.serving_template(tokenizer),
        "training": pair.training_template(tokenizer),
    }
    both.save_pretrained(folder)
    templates = ("chat_template.jinja", "additional_chat_templates/training.jinja")
    manifest = Manifest(
        name="tiny-release",
        license="apache-2.0",
        created="2000-01-01T00:00:00+00:00",
        base=BaseModelRecord(
            id="tiny", path="base", digest=digest_of(model_folder), parameters=1, model_type="llama"
        ),
        prompt=pair.to_record(),
        recipe={},
        seed=0,
        corpus={},
        training={},
        metrics={},
        versions={},
        files={name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in templates},
    )
    (folder / "chatdoctor.json").write_text(manifest.model_dump_json(), encoding="utf-8")
