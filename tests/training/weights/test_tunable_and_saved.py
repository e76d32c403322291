"""Every kind of adapter: loaded, trained in float32, saved, and loaded again by PEFT or transformers alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import PeftModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import AutoModelForCausalLM  # noqa: E402

from chatdoctor_hub.errors import ConfigError, ModelFormatError  # noqa: E402
from chatdoctor_hub.models import load_model, load_tokenizer  # noqa: E402
from chatdoctor_hub.training import RecipeConfig  # noqa: E402
from chatdoctor_hub.training.weights import check_adapter, count_parameters, load_tunable, save_trained  # noqa: E402

Recipe = Callable[..., RecipeConfig]
KINDS: dict[str, dict[str, Any]] = {
    "lora": {"r": 4, "alpha": 8},
    "lora-named": {"r": 4, "alpha": 8, "targets": ["q_proj", "down_proj"]},
    "rslora": {"r": 4, "alpha": 8, "variant": "rslora"},
    "dora": {"r": 4, "alpha": 8, "variant": "dora"},
    "pissa": {"r": 4, "alpha": 8, "variant": "pissa"},
    "series": {"kind": "series", "bottleneck_size": 4},
    "series-linear": {"kind": "series", "bottleneck_size": 4, "placement": "linear", "scale": "learned"},
    "parallel": {"kind": "parallel", "bottleneck_size": 4, "activation": "relu", "scale": 4.0},
    "parallel-linear": {"kind": "parallel", "bottleneck_size": 4, "placement": "linear"},
    "prefix": {"kind": "prefix", "tokens": 3},
    "prefix-projected": {"kind": "prefix", "tokens": 3, "projection_size": 8},
    "full": {"kind": "full"},
}


def logits(model: Any, ids: Any) -> Any:
    with torch.no_grad():
        return model(input_ids=ids).logits.float()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_trained_is_float32_and_counted_from_the_config_alone(
    kind: str, recipe: Recipe, tiny_base: Path, ids: Any
) -> None:
    config = recipe(adapter=KINDS[kind])
    model = load_tunable(config, tiny_base, torch.bfloat16, "cpu")
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    frozen = {parameter.dtype for parameter in model.parameters() if not parameter.requires_grad}
    assert {parameter.dtype for parameter in trained} == {torch.float32}
    assert frozen == (set() if kind == "full" else {torch.bfloat16})
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert count_parameters(config, tiny_base) == (sum(item.numel() for item in trained), everything)
    model(input_ids=ids, labels=ids).loss.backward()
    assert all(parameter.grad is not None for parameter in trained)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("prefix")])
def test_the_model_is_the_base_at_step_0(kind: str, recipe: Recipe, tiny_base: Path, ids: Any) -> None:
    model = load_tunable(recipe(adapter=KINDS[kind]), tiny_base, torch.float32, "cpu")
    expected = logits(load_model(tiny_base, torch.float32), ids)
    torch.testing.assert_close(logits(model, ids), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "full"])
def test_a_saved_adapter_works_on_the_base_as_it_was(
    kind: str, recipe: Recipe, tiny_base: Path, ids: Any, tmp_path: Path, shake: Callable[..., None]
) -> None:
    config = recipe(adapter=KINDS[kind])
    model = load_tunable(config, tiny_base, torch.float32, "cpu").eval()
    before = logits(model, ids)
    shake(model)
    expected = logits(model, ids)
    assert (expected - before).abs().max() > 1e-3
    save_trained(model, config, tmp_path)
    names = sorted(path.name for path in (tmp_path / "adapter").iterdir())
    assert names == ["adapter_config.json", "adapter_model.safetensors"]
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    torch.testing.assert_close(logits(loaded, ids), expected, rtol=1e-4, atol=1e-4)
    # What is saved is what is being trained still: nothing was changed by saving.
    assert torch.equal(logits(model, ids), expected)


def test_pissa_is_saved_as_a_plain_lora_of_twice_the_rank(
    recipe: Recipe, tiny_base: Path, tmp_path: Path, shake: Callable[..., None]
) -> None:
    config = recipe(adapter=KINDS["pissa"])
    model = load_tunable(config, tiny_base, torch.float32, "cpu")
    shake(model)
    save_trained(model, config, tmp_path)
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text(encoding="utf-8"))
    assert (saved["init_lora_weights"], saved["r"], saved["lora_alpha"]) == (True, 8, 16)
    assert (model.peft_config["default"].r, model.peft_config["default"].lora_alpha) == (4, 8)
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert {tensor.shape[0] for name, tensor in weights.items() if ".lora_A." in name} == {8}
    assert copy.deepcopy(model).pissa_start is model.pissa_start  # threads' copies share it
    del model.pissa_start
    with pytest.raises(ModelFormatError, match="matrices it started from"):
        save_trained(model, config, tmp_path)


def test_pissa_on_a_base_in_half_precision_is_saved_within_its_rounding(
    recipe: Recipe, tiny_base: Path, ids: Any, tmp_path: Path, shake: Callable[..., None]
) -> None:
    config = recipe(adapter=KINDS["pissa"])
    model = load_tunable(config, tiny_base, torch.bfloat16, "cpu").eval()
    untuned = logits(model, ids)
    shake(model)
    expected = logits(model, ids)
    save_trained(model, config, tmp_path)
    base = AutoModelForCausalLM.from_pretrained(tiny_base, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()
    assert (logits(loaded, ids) - expected).norm() < 0.15 * (untuned - expected).norm()


def test_a_seed_gives_one_start_and_leaves_the_random_state(recipe: Recipe, tiny_base: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second, other = (
        load_tunable(recipe(seed=seed), tiny_base, torch.float32, "cpu") for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(3), expected)
    parts = [
        torch.cat([p.flatten() for n, p in model.named_parameters() if "lora_A" in n])
        for model in (first, second, other)
    ]
    assert torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[0], parts[2])


def test_saving_twice_gives_the_same_bytes(recipe: Recipe, tiny_base: Path, tmp_path: Path) -> None:
    config = recipe(adapter=KINDS["lora"])
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        save_trained(load_tunable(config, tiny_base, torch.float32, "cpu"), config, tmp_path / name)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        one, two = (tmp_path / name / "adapter" / file for name in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()
    targets = json.loads((tmp_path / "one/adapter/adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets)


def test_full_tuning_is_saved_as_a_model_in_the_dtype_of_the_base(
    recipe: Recipe, tiny_base: Path, ids: Any, tmp_path: Path, shake: Callable[..., None]
) -> None:
    config = recipe(adapter=KINDS["full"])
    model = load_tunable(config, tiny_base, torch.bfloat16, "cpu").eval()
    shake(model)
    save_trained(model, config, tmp_path)
    base = load_file(tiny_base / "model.safetensors")
    saved = load_file(tmp_path / "model" / "model.safetensors")
    assert {name: (t.shape, t.dtype) for name, t in saved.items()} == {
        name: (t.shape, t.dtype) for name, t in base.items()
    }
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    assert loaded.dtype == torch.bfloat16
    weights = dict(model.named_parameters())
    assert all(torch.equal(p, weights[n].to(torch.bfloat16)) for n, p in loaded.named_parameters())
    assert next(model.parameters()).dtype == torch.float32  # training could go on
    # The head is the embedding still.
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


def test_a_base_whose_files_are_not_whole(recipe: Recipe, tiny_base: Path, tmp_path: Path) -> None:
    import shutil

    base = shutil.copytree(tiny_base, tmp_path / "base")
    tokenizer = load_tokenizer(base)
    tokenizer.add_tokens([f"word{number}" for number in range(700)])
    tokenizer.save_pretrained(base)
    with pytest.raises(ModelFormatError, match="the tokenizer belongs to another model"):
        check_adapter(recipe(base=base), base, load_tokenizer(base))
    with pytest.raises(ConfigError, match=r"training\.quantization: expected 'none' on a machine without"):
        load_tunable(recipe(training={"quantization": "4bit"}), tiny_base, torch.float32, "cpu")
