"""Tokenizers in several template styles, tiny models, dialogues, and a tiny base on disk."""

from __future__ import annotations

import gc
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training import RecipeConfig, TinyBaseConfig, TrainingConfig, train_tiny_base
from chatdoctor_hub.training.data.encoding import Encoded

COMPLAINTS = (
    "sore throat",
    "stiff neck",
    "itchy skin",
    "dry cough",
    "swollen ankle",
    "blocked nose",
    "upset stomach",
    "twisted knee",
    "burning eyes",
    "aching back",
    "ringing ears",
    "mild fever",
)
ADVICE = ("Rest and drink plenty of water.", "Keep it cool and raised.", "See a doctor if it gets worse.")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)


@pytest.fixture(scope="module", autouse=True)
def _little_garbage() -> None:
    """A Trainer looks through all objects when it begins: those of the imported libraries need no look."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def say() -> Callable[..., Dialogue]:
    """A dialogue from words: patient, doctor, patient, …; `system` stands in front."""

    def make(*words: str, system: str = "") -> Dialogue:
        roles: tuple[Any, Any] = ("patient", "doctor")
        first = (Turn(role="system", content=system),) if system else ()
        turns = (Turn(role=roles[number % 2], content=text) for number, text in enumerate(words))
        return Dialogue(turns=(*first, *turns))

    return make


@pytest.fixture(scope="session")
def dialogues(say: Callable[..., Dialogue]) -> list[Dialogue]:
    """Forty-eight dialogues of one or two exchanges; each opens with other words."""
    made = []
    for number in range(48):
        complaint, days = COMPLAINTS[number % 12], 2 + number // 12
        opening = f"I have had a {complaint} for {days} days. What should I do?"
        advice = f"A {complaint} of {days} days is common. {ADVICE[number % 3]}"
        if number % 4:
            made.append(say(opening, advice))
        else:
            made.append(say(opening, f"Is the {complaint} worse at night?", "Yes, a little.", advice))
    return made


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory, dialogues: list[Dialogue]) -> Path:
    """The dialogues as messages JSONL."""
    file = tmp_path_factory.mktemp("data") / "dialogues.jsonl"
    lines = [json.dumps({"messages": dialogue.to_messages()}) for dialogue in dialogues]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory, dialogues: list[Dialogue]) -> Path:
    """A base of one block, trained for some steps with its own tokenizer."""
    folder = tmp_path_factory.mktemp("bases") / "tiny"
    folder.mkdir()
    settings = TrainingConfig(
        optimizer="muon", lr=0.02, epochs=2.0, batch_size=8, workers=1, precision="float32"
    )
    shape = TinyBaseConfig(
        vocabulary=600, hidden_size=32, layers=1, heads=2, mlp_size=64, context=256, training=settings
    )
    train_tiny_base(dialogues, dialogues[:6], PromptPair.load("chatdoctor@1"), folder, shape)
    return folder


@pytest.fixture
def recipe(tiny_base: Path, data_file: Path, tmp_path: Path) -> Callable[..., RecipeConfig]:
    """A recipe for the tiny base that takes a second; keywords change it."""

    def make(**changes: Any) -> RecipeConfig:
        training = {"epochs": 1.0, "batch_size": 8, "workers": 1, "precision": "float32", "lr": 1e-2}
        training |= changes.pop("training", {})
        values = {"base": tiny_base, "data": data_file, "output": tmp_path / "run", **changes}
        return RecipeConfig(**values, training=TrainingConfig(**training))

    return make


@pytest.fixture(scope="session")
def draw() -> Callable[..., list[Encoded]]:
    """Samples of random tokens (never 0) of the given lengths; all but the first third is learned."""

    def make(lengths: Sequence[int], vocabulary: int = 64, seed: int = 0) -> list[Encoded]:
        numbers = random.Random(seed)
        return [
            Encoded(
                tuple(numbers.randrange(1, vocabulary) for _ in range(length)),
                tuple(at >= max(1, length // 3) for at in range(length)),
            )
            for length in lengths
        ]

    return make


@pytest.fixture(scope="session")
def build() -> Callable[..., Any]:
    """A tiny model of a kind, weights large enough that positions and neighbours matter."""

    def make(kind: str, seed: int = 0, **changes: Any) -> Any:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM

        torch.manual_seed(seed)
        config = AutoConfig.for_model(kind, **{**_SHAPES[kind], **changes})
        model = AutoModelForCausalLM.from_config(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.2 * torch.randn_like(parameter)
        return model

    return make


_USUAL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = {**_USUAL, "num_key_value_heads": 2}
_SHAPES: dict[str, dict[str, Any]] = {
    "llama": _USUAL,
    "qwen2": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 16},
    "gemma2": {**_GROUPED, "head_dim": 8, "sliding_window": 128},
    "gpt2": {
        "vocab_size": 64,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
    },
    "opt": {
        **{k: v for k, v in _USUAL.items() if k != "intermediate_size"},
        "ffn_dim": 64,
        "word_embed_proj_dim": 32,
    },
    "bloom": {"vocab_size": 64, "hidden_size": 32, "n_layer": 2, "n_head": 4},
}
