"""GGUF files: read back, dequantised and compared; the tokenizer and the serving form in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
gguf = pytest.importorskip("gguf")

import numpy as np  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast  # noqa: E402

from chatdoctor_hub.errors import ConfigError, ModelFormatError  # noqa: E402
from chatdoctor_hub.models import load_tokenizer  # noqa: E402
from chatdoctor_hub.prompts import PromptPair  # noqa: E402
from chatdoctor_hub.training.weights import export_gguf, merge_run  # noqa: E402
from chatdoctor_hub.training.weights.gguf_tokens import GgufTokens  # noqa: E402

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 700,
    "max_position_embeddings": 128,
}
OWN: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {"sliding_window": 64},
    "qwen2": {},
    "qwen3": {"head_dim": 16},
}


def tensors_of(file: Path) -> dict[str, Any]:
    return {
        tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        for tensor in gguf.GGUFReader(file).tensors
    }


def field(file: Path, name: str) -> Any:
    return gguf.GGUFReader(file).fields[name].contents()


@pytest.fixture
def model_folder(tiny_base: Path, tmp_path: Path) -> Callable[..., Path]:
    """A random model of a family, with the tokenizer of the tiny base."""

    def make(kind: str, **changes: Any) -> Path:
        folder = tmp_path / kind
        config = AutoConfig.for_model(kind, **{**SHAPE, **OWN.get(kind, {}), **changes})
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config).save_pretrained(folder)
        for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
            if (tiny_base / name).is_file():
                shutil.copy2(tiny_base / name, folder)
        return folder

    return make


@pytest.mark.parametrize("type", ["f32", "f16", "bf16", "q8_0"])
def test_a_run_is_exported_with_its_serving_form(
    type: str, finished: Callable[..., Any], tmp_path: Path
) -> None:
    run, _ = finished(r=4, alpha=8)
    merge_run(run, tmp_path / "merged")
    expected = load_file(tmp_path / "merged" / "model.safetensors")
    report = export_gguf(run, tmp_path / "model.gguf", type)
    held = tensors_of(tmp_path / "model.gguf")
    steps = {"f32": 0, "f16": 5e-4, "bf16": 4e-3, "q8_0": 5e-3}
    pairs = (
        ("model.layers.0.mlp.down_proj.weight", "blk.0.ffn_down.weight"),
        ("model.embed_tokens.weight", "token_embd.weight"),
    )
    for name, stored in pairs:
        values = expected[name].float().numpy()
        assert np.abs(held[stored].reshape(values.shape) - values).max() <= steps[type] * np.abs(values).max()
    assert (report.tensors, report.type, report.architecture) == (len(held), type, "llama")
    assert report.bytes == (tmp_path / "model.gguf").stat().st_size
    assert "output.weight" not in held  # tied to the embedding
    pair = PromptPair.load("chatdoctor@1")
    tokenizer = load_tokenizer(run.tokenizer)
    template = field(tmp_path / "model.gguf", "tokenizer.chat_template")
    assert template == pair.serving_template(tokenizer)
    question = [{"role": "user", "content": "Is it serious?"}]
    said = tokenizer.apply_chat_template(question, chat_template=template, tokenize=False)
    assert pair.safety in said
    assert report.prompt == "chatdoctor@1"
    # What was made on the way is gone.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["merged", "model.gguf", "run"]


def test_the_tokenizer_is_held_whole(finished: Callable[..., Any], tmp_path: Path) -> None:
    run, _ = finished(kind="full")
    file = tmp_path / "model.gguf"
    report = export_gguf(run, file, "f16")
    tokenizer = load_tokenizer(run.tokenizer)
    assert report.tokenizer == "gpt2, gpt-2"
    assert field(file, "tokenizer.ggml.pre") == "gpt-2"
    assert field(file, "tokenizer.ggml.tokens")[: len(tokenizer)] == tokenizer.convert_ids_to_tokens(
        list(range(len(tokenizer)))
    )
    assert field(file, "tokenizer.ggml.eos_token_id") == tokenizer.eos_token_id
    assert field(file, "tokenizer.ggml.add_bos_token") is False
    types = field(file, "tokenizer.ggml.token_type")
    assert {types[number] for number in tokenizer.all_special_ids} == {gguf.TokenType.CONTROL}
    assert types[tokenizer.convert_tokens_to_ids("a")] == gguf.TokenType.NORMAL
    merges = field(file, "tokenizer.ggml.merges")
    assert merges
    assert all(merge.count(" ") == 1 for merge in merges)


@pytest.mark.parametrize("kind", OWN)
def test_every_family_is_held_to_the_last_bit(
    kind: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder(kind)
    report = export_gguf(folder, tmp_path / "model.gguf", "f32")
    file = tmp_path / "model.gguf"
    held, weights = tensors_of(file), load_file(folder / "model.safetensors")
    assert sum(values.size for values in held.values()) == sum(tensor.numel() for tensor in weights.values())
    assert report.largest_error == 0
    architecture = "llama" if kind == "mistral" else kind
    assert field(file, "general.architecture") == architecture
    size = 16 if kind == "qwen3" else 8
    names = ("block_count", "attention.head_count", "attention.head_count_kv", "attention.key_length")
    assert [field(file, f"{architecture}.{name}") for name in names] == [2, 4, 2, size]
    assert field(file, f"{architecture}.context_length") == (64 if kind == "mistral" else 128)
    # Queries and keys of LLaMA: rows that turn together stand side by side, elsewhere half a head apart.
    for projection, stored, heads in (("q_proj", "attn_q", 4), ("k_proj", "attn_k", 2)):
        values = weights[f"model.layers.1.self_attn.{projection}.weight"].numpy()
        found = held[f"blk.1.{stored}.weight"].reshape(values.shape)
        for head in range(heads):
            for pair in range(size // 2):
                rows = (2 * pair, 2 * pair + 1) if architecture == "llama" else (pair, pair + size // 2)
                for row, original in zip(rows, (pair, pair + size // 2), strict=True):
                    assert np.array_equal(found[head * size + row], values[head * size + original])


@pytest.mark.parametrize(
    ("rope", "expected"),
    [
        ({"rope_type": "linear", "factor": 4.0}, {"type": "linear", "factor": 4.0}),
        (
            {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 64},
            {"type": "yarn", "factor": 2.0, "original_context_length": 64},
        ),
    ],
)
def test_stretched_positions_are_told(
    rope: dict[str, Any], expected: dict[str, Any], model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = model_folder("llama", rope_parameters={"rope_theta": 5000.0, **rope})
    export_gguf(folder, tmp_path / "model.gguf", "f32")
    assert field(tmp_path / "model.gguf", "llama.rope.freq_base") == 5000.0
    found = {name: field(tmp_path / "model.gguf", f"llama.rope.scaling.{name}") for name in expected}
    assert found == expected


def test_llama_3_positions_are_factors_of_each_frequency(
    model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    rope = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    folder = model_folder("llama", rope_parameters=rope)
    export_gguf(folder, tmp_path / "model.gguf", "q8_0")
    held = tensors_of(tmp_path / "model.gguf")["rope_freqs.weight"]
    plain = 1 / 10000.0 ** (np.arange(0, 8, 2) / 8)
    model = AutoModelForCausalLM.from_pretrained(folder)
    np.testing.assert_allclose(plain / held, model.model.rotary_emb.inv_freq.numpy(), rtol=1e-5)
    assert held[0] == 1
    assert held[-1] == pytest.approx(8.0)


@pytest.mark.parametrize(
    ("kind", "changes", "said"),
    [
        ("gemma", {"head_dim": 8}, r"llama, mistral, qwen2, qwen3\), found 'gemma'"),
        ("llama", {"hidden_act": "gelu"}, "a plain llama, found one with the activation 'gelu'"),
        (
            "llama",
            {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}},
            "rotary positions of type 'dynamic'",
        ),
    ],
)
def test_other_models_are_refused(
    kind: str, changes: dict[str, Any], said: str, model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelFormatError, match=said):
        export_gguf(model_folder(kind, **changes), tmp_path / "model.gguf", "f16")
    assert not (tmp_path / "model.gguf").exists()


def test_other_types_adapters_and_numbers_too_large_are_refused(
    finished: Callable[..., Any], model_folder: Callable[..., Path], tmp_path: Path
) -> None:
    run, _ = finished(r=4, alpha=8)
    with pytest.raises(ConfigError, match="GGUF type among f32, f16, bf16, q8_0, found 'q4_k'"):
        export_gguf(run, tmp_path / "model.gguf", "q4_k")
    with pytest.raises(ModelFormatError, match="found an adapter; give the run"):
        export_gguf(run.adapter, tmp_path / "model.gguf")
    folder = model_folder("llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.model.layers[0].mlp.up_proj.weight.data[0, 0] = 1e6
    model.save_pretrained(folder)
    with pytest.raises(ModelFormatError, match="nothing was written: use f32 or bf16"):
        export_gguf(folder, tmp_path / "model.gguf", "f16")
    assert not (tmp_path / "model.gguf").exists()


def trained_tokenizer(kind: str) -> Any:
    """A tokenizer that cuts text in one of the usual ways."""
    words = ["a headache of three days", "the fever fell, it fell at 39.5"] * 20
    if kind == "llama":
        tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
        tokenizer.normalizer = normalizers.Sequence(
            [normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")]
        )
        special = ["<unk>", "<s>", "</s>", *(f"<0x{number:02X}>" for number in range(256))]
    else:
        digits = {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}", "odd": r"\p{N}{1,2}"}[kind]
        cut = (
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits + r"| ?[^\s\p{L}\p{N}]+[\r\n]*"
            r"|\s*[\r\n]+|\s+(?!\S)|\s+"
        )
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(cut), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
        special = ["<s>", "</s>"]
    trainer = trainers.BpeTrainer(vocab_size=len(special) + 60, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(words, trainer)
    if kind == "llama":  # bytes are no special tokens, though the trainer takes them for such
        made = json.loads(tokenizer.to_str())
        made["added_tokens"] = [
            item for item in made["added_tokens"] if not item["content"].startswith("<0x")
        ]
        tokenizer = Tokenizer.from_str(json.dumps(made))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>" if kind == "llama" else None,
    )


@pytest.mark.parametrize("kind", ["llama-bpe", "qwen2"])
def test_ways_to_cut_text_are_told_apart(kind: str, tmp_path: Path) -> None:
    assert GgufTokens.of(trained_tokenizer(kind), 400, tmp_path).pre == kind
    with pytest.raises(ModelFormatError, match="found another way, which cannot be named"):
        GgufTokens.of(trained_tokenizer("odd"), 400, tmp_path)
    with pytest.raises(
        ModelFormatError, match=r"at most 40 tokens, found \d+; the tokenizer belongs to another"
    ):
        GgufTokens.of(trained_tokenizer(kind), 40, tmp_path)


def test_sentencepiece_merges_become_scores(tmp_path: Path) -> None:
    tokenizer = trained_tokenizer("llama")
    found = GgufTokens.of(tokenizer, 400, tmp_path)
    assert (found.model, len(found.tokens), found.merges) == ("llama", 400, ())
    types = dict(zip(found.tokens, found.types, strict=True))
    assert [types[name] for name in ("<unk>", "<s>", "<0x0A>", "[PAD399]")] == [2, 3, 6, 5]
    scores = dict(zip(found.tokens, found.scores, strict=True))

    def pieces(text: str) -> list[str]:
        """As llama.cpp does: the neighbours whose joined token has the best score are joined first."""
        parts = list("\u2581" + text.replace(" ", "\u2581"))
        while True:
            joined = [(scores.get(a + b, -np.inf), -at) for at, (a, b) in enumerate(pairwise(parts))]
            if not joined or max(joined)[0] == -np.inf:
                return parts
            at = -max(joined)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]

    for text in ("the fever of three days", "a fell headache", "it hath ached"):
        assert pieces(text) == tokenizer.convert_ids_to_tokens(
            tokenizer(text, add_special_tokens=False)["input_ids"]
        )
