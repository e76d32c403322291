"""Every family that has defaults, as a tiny random model of transformers; the published sizes of LLaMA-7B."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import get_peft_model  # noqa: E402
from transformers import AutoConfig, AutoModelForCausalLM  # noqa: E402

from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig  # noqa: E402
from chatdoctor_hub.adapters.families import FAMILIES  # noqa: E402
from chatdoctor_hub.errors import ConfigError  # noqa: E402

SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 64,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}
OWN = {
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"n_head": 4, "n_layer": 2},
    "gptj": {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_positions": 64},
    "gpt_neo": {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]},
    "gemma": {"head_dim": 8},
    "gemma2": {"head_dim": 8},
    "gemma3_text": {"head_dim": 8},
    "qwen3": {"head_dim": 8},
}
CASES = [(family, kind) for family, kinds in FAMILIES.items() for kind in kinds]


def tiny(family: str) -> Any:
    shape = {
        name: value
        for name, value in SHAPE.items()
        if not (family == "gptj" and "_" in name and "hidden" in name)
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(
        AutoConfig.for_model(family, **{**shape, **OWN.get(family, {})})
    ).eval()


@pytest.mark.parametrize(("family", "kind"), CASES, ids=lambda value: value.replace(" ", "-"))
def test_the_defaults_fit_the_family(family: str, kind: str) -> None:
    method, placement = kind.split()
    make: Any = {"series": SeriesConfig, "parallel": ParallelConfig}[method]
    model = tiny(family)
    tokens = torch.randint(1, 64, (1, 6), generator=torch.Generator().manual_seed(0))
    before = model(tokens).logits
    adapted = get_peft_model(model, make(bottleneck_size=4, placement=placement)).eval()
    torch.testing.assert_close(adapted(tokens).logits, before, rtol=1e-6, atol=1e-6)
    # Every name among the targets is met in every layer.
    layers = [name for name, module in adapted.named_modules() if type(module).__name__ in LAYERS]
    assert {name.rsplit(".", 1)[-1] for name in layers} == FAMILIES[family][kind]
    assert len(layers) == 2 * len(FAMILIES[family][kind])
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3)
    assert not torch.allclose(adapted(tokens).logits, before, atol=1e-4)


LAYERS = ("SeriesLayer", "ParallelLayer")


def test_a_family_without_a_default_needs_targets() -> None:
    model = AutoModelForCausalLM.from_config(
        AutoConfig.for_model("gpt2", n_embd=32, n_layer=2, n_head=4, vocab_size=64)
    )
    with pytest.raises(
        ConfigError, match=r"of type 'gpt2', found none and no default .*llama.*; name the modules"
    ):
        get_peft_model(model, SeriesConfig(bottleneck_size=4))
    with pytest.raises(ConfigError, match="placement block, on a model of type 'opt'"):
        get_peft_model(tiny("opt"), ParallelConfig(bottleneck_size=4))
    tokens = torch.arange(6)[None]
    before = model.eval()(tokens).logits
    adapted = get_peft_model(model, ParallelConfig(bottleneck_size=4, target_modules=["c_attn", "c_proj"]))
    assert torch.equal(adapted.eval()(tokens).logits, before)


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        # arXiv 2304.01933: series at up_proj and gate_proj 134 M (67 M at down_proj), parallel at both
        # projections of the feed-forward block 247 M.
        (SeriesConfig(placement="linear", target_modules=["up_proj", "gate_proj"]), 134.2),
        (SeriesConfig(placement="linear", position="output", target_modules=["down_proj"]), 67.1),
        (ParallelConfig(placement="linear", target_modules=["up_proj", "down_proj"]), 247.5),
    ],
    ids=["series", "series-down", "parallel"],
)
def test_published_sizes_on_the_shapes_of_llama_7b(config: Any, millions: float) -> None:
    shape = AutoConfig.for_model(
        "llama", hidden_size=4096, intermediate_size=11008, num_hidden_layers=32, num_attention_heads=32
    )
    with torch.device("meta"):
        model = get_peft_model(AutoModelForCausalLM.from_config(shape), config, low_cpu_mem_usage=True)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert round(trained / 1e6, 1) == millions
