"""Adapters on a base in 4 and 8 bits; bitsandbytes computes on a CPU too, though nobody would train there."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("bitsandbytes")

from chatdoctor_hub.errors import ConfigError  # noqa: E402
from chatdoctor_hub.training import RecipeConfig  # noqa: E402
from chatdoctor_hub.training.weights import load_tunable, quantized, save_trained  # noqa: E402


@pytest.fixture
def wide_base(tiny_base: Path, tmp_path: Path) -> Path:
    """As wide as the blocks that are quantized, with the tokenizer of the tiny base."""
    from transformers import AutoConfig, AutoModelForCausalLM

    folder = tmp_path / "wide"
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(AutoConfig.for_model("llama", vocab_size=700, **shape)).save_pretrained(
        folder
    )
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy2(tiny_base / name, folder)
    return folder


@pytest.mark.parametrize("bits", ["4bit", "8bit"])
@pytest.mark.parametrize(
    "adapter",
    [
        {"r": 4, "alpha": 8},
        {"r": 4, "alpha": 8, "variant": "dora"},
        {"kind": "series", "bottleneck_size": 4},
        {"kind": "parallel", "bottleneck_size": 4, "placement": "linear"},
    ],
    ids=["lora", "dora", "series", "parallel"],
)
def test_an_adapter_is_trained_on_it_and_saved(
    adapter: dict[str, Any],
    bits: str,
    recipe: Callable[..., RecipeConfig],
    wide_base: Path,
    ids: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(quantized, "check_quantization", lambda _: None)
    if bits == "8bit" and adapter.get("variant") == "dora":
        pytest.skip("no recipe: PEFT's DoRA fails on it")
    config = recipe(adapter=adapter, training={"quantization": bits})
    model = load_tunable(config, wide_base, torch.float32, "cpu")
    kinds = {type(module).__name__ for module in model.modules()}
    assert any(kind.startswith("Linear4bit" if bits == "4bit" else "Linear8bit") for kind in kinds)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    optimizer = torch.optim.Adam(trained, lr=0.02)
    losses = []
    for _ in range(8):
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.05
    save_trained(model, config, tmp_path)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()


def test_without_the_package_or_a_gpu_it_is_refused(
    recipe: Callable[..., RecipeConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = recipe(training={"quantization": "4bit"})
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    quantized.check_quantization(config)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install bitsandbytes"):
        quantized.check_quantization(config)
