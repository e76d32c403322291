"""What is refused from `config.json` alone, and the published parameter counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from transformers import AutoConfig  # noqa: E402

from chatdoctor_hub.errors import ConfigError, ModelFormatError  # noqa: E402
from chatdoctor_hub.models import load_tokenizer  # noqa: E402
from chatdoctor_hub.training import RecipeConfig  # noqa: E402
from chatdoctor_hub.training.weights import check_adapter, check_positions, count_parameters  # noqa: E402

Recipe = Callable[..., RecipeConfig]
SHAPES: dict[str, dict[str, Any]] = {
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 1000},
    "opt": {
        "hidden_size": 32,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "word_embed_proj_dim": 32,
        "vocab_size": 1000,
    },
    "llama-7b": {
        "hidden_size": 4096,
        "intermediate_size": 11008,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "vocab_size": 32000,
    },
}


@pytest.fixture
def shaped(tmp_path: Path, tiny_base: Path) -> Callable[[str], Path]:
    """A folder with the config of a model, a tokenizer and no weights."""

    def make(kind: str) -> Path:
        folder = tmp_path / kind
        AutoConfig.for_model(kind.partition("-")[0], **SHAPES[kind]).save_pretrained(folder)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy2(tiny_base / file, folder)
        return folder

    return make


@pytest.mark.parametrize(
    ("recipe_name", "trained"),
    [
        # arXiv 2304.01933: 56 M, 134 M, 247 M, 2.6 M.
        ("llm-adapters-math-lora", 56_098_816),
        ("llm-adapters-math-series", 134_217_728),
        ("llm-adapters-math-parallel", 247_463_936),
        ("llm-adapters-math-prefix", 2_621_440),
    ],
)
def test_published_counts_on_the_shapes_of_llama_7b(
    recipe_name: str, trained: int, shaped: Callable[[str], Path], data_file: Path, tmp_path: Path
) -> None:
    folder = shaped("llama-7b")
    config = RecipeConfig.load(
        recipe_name, base=str(folder), data=str(data_file), output=str(tmp_path / "out")
    )
    check_adapter(config, folder)
    assert count_parameters(config, folder) == (trained, 6_738_415_616 + trained)


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        ({"targets": ["q_porj", "down_proj"]}, r"k_proj, .*found \['q_porj'\], did you mean .*q_proj.*\?"),
        ({"targets": ["c_attn"]}, r"down_proj, gate_proj, .*found \['c_attn'\].*all-linear"),
        ({"targets": ["input_layernorm"]}, r"found \['input_layernorm'\]"),
        ({"kind": "series", "placement": "linear", "targets": ["mlp"]}, r"found \['mlp'\]"),
        ({"kind": "parallel", "targets": ["mpl"]}, r"found \['mpl'\], did you mean mlp\?"),
        ({"kind": "parallel", "targets": ["input_layernorm"]}, "linear layers or blocks"),
        ({"kind": "series", "activation": "tahn"}, "activation 'tahn'"),
        ({"variant": "pissa", "r": 33}, r"adapter\.r: expected at most 32 with adapter\.variant 'pissa'"),
    ],
)
def test_adapters_that_do_not_suit_the_base(
    adapter: dict[str, Any], said: str, recipe: Recipe, tiny_base: Path
) -> None:
    with pytest.raises(ConfigError, match=said):
        check_adapter(recipe(adapter=adapter), tiny_base)


@pytest.mark.parametrize(
    ("kind", "adapter", "said"),
    [
        ("opt", {"kind": "parallel"}, "placement block, on a model of type 'opt', found none and no default"),
        ("gpt2", {"kind": "series"}, r"of type 'gpt2', found none and no default .*; name the modules"),
        ("gpt2", {"kind": "parallel", "placement": "linear"}, "of type 'gpt2'"),
    ],
)
def test_families_without_defaults(
    kind: str, adapter: dict[str, Any], said: str, recipe: Recipe, shaped: Callable[[str], Path]
) -> None:
    folder = shaped(kind)
    with pytest.raises(ConfigError, match=said):
        check_adapter(recipe(base=str(folder), adapter=adapter), folder)


@pytest.mark.parametrize(
    ("kind", "adapter"),
    [
        ("gpt2", {"targets": ["c_attn", "c_proj"]}),
        ("gpt2", {"variant": "dora"}),
        ("gpt2", {"kind": "series", "targets": ["c_attn"], "bottleneck_size": 4}),
        ("gpt2", {"kind": "prefix"}),
        ("opt", {"kind": "series", "bottleneck_size": 4}),
        ("opt", {"kind": "parallel", "placement": "linear", "bottleneck_size": 4}),
        ("opt", {"kind": "full"}),
    ],
)
def test_other_families_are_known_by_their_shapes(
    kind: str, adapter: dict[str, Any], recipe: Recipe, shaped: Callable[[str], Path]
) -> None:
    folder = shaped(kind)
    config = recipe(base=str(folder), adapter=adapter)
    check_adapter(config, folder)
    trained, everything = count_parameters(config, folder)
    assert 0 < trained <= everything
    assert (trained == everything) == (adapter.get("kind") == "full")


def test_a_folder_that_holds_no_causal_language_model(
    recipe: Recipe, tiny_base: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(tiny_base)
    with pytest.raises(ModelFormatError, match=r"config\.json of a causal language model, found none"):
        check_adapter(recipe(), tmp_path, tokenizer)
    AutoConfig.for_model("vit").save_pretrained(tmp_path)
    with pytest.raises(ModelFormatError, match="found one of type 'vit'"):
        check_adapter(recipe(), tmp_path, tokenizer)


def test_a_tokenizer_of_another_model(recipe: Recipe, tiny_base: Path) -> None:
    tokenizer = load_tokenizer(tiny_base)
    tokenizer.add_tokens([f"word{number}" for number in range(700)])
    with pytest.raises(
        ModelFormatError, match=r"at most \d+ tokens, found \d+; the tokenizer belongs to another"
    ):
        check_adapter(recipe(), tiny_base, tokenizer)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine can quantize")
@pytest.mark.parametrize("quantization", ["4bit", "8bit"])
def test_quantization_without_a_gpu(quantization: str, recipe: Recipe, tmp_path: Path) -> None:
    config = recipe(training={"quantization": quantization})
    with pytest.raises(
        ConfigError, match=r"training\.quantization: .*quantized bases are trained on GPUs only"
    ):
        check_adapter(config, tmp_path / "never-looked-at")


def test_dialogues_longer_than_the_positions(recipe: Recipe, tiny_base: Path) -> None:
    check_positions(recipe(), tiny_base, 256)
    with pytest.raises(ConfigError, match=r"expected at most 256, .* found a dialogue of 257 tokens"):
        check_positions(recipe(), tiny_base, 257)
    prefix = recipe(adapter={"kind": "prefix", "tokens": 6})
    check_positions(prefix, tiny_base, 250)
    with pytest.raises(ConfigError, match=r"at most 250, .* less the prefix of 6, found a dialogue of 251"):
        check_positions(prefix, tiny_base, 251)
