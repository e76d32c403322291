"""Both methods as PEFT and transformers use them: save, load, switch, delete, disable, checkpoint, train."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("peft")

from peft import LoraConfig, PeftModel, get_peft_model  # noqa: E402

from chatdoctor_hub.adapters import ParallelConfig, SeriesConfig, export_lora  # noqa: E402
from chatdoctor_hub.adapters.layers import BottleneckLayer  # noqa: E402
from chatdoctor_hub.errors import ConfigError, ModelFormatError  # noqa: E402

CONFIGS = [
    SeriesConfig(bottleneck_size=4, task_type="CAUSAL_LM"),
    SeriesConfig(bottleneck_size=4, placement="linear", scale="learned"),
    ParallelConfig(bottleneck_size=4, activation="relu", scale=4.0),
    ParallelConfig(bottleneck_size=4, placement="linear", task_type="CAUSAL_LM"),
]
IDS = ["series-block", "series-linear", "parallel-block", "parallel-linear"]


def trained(model: Any, config: Any, seed: int = 3) -> Any:
    """With weights as training might leave them."""
    tuned = get_peft_model(model, config).eval()
    shake(tuned, seed)
    return tuned


def shake(model: Any, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data.normal_(std=0.3, generator=generator)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_the_model_is_unchanged_at_step_0(config: Any, make_llama: Callable[..., Any], tokens: Any) -> None:
    expected = make_llama()(tokens).logits
    assert torch.equal(get_peft_model(make_llama(), config)(tokens).logits, expected)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_saved_and_loaded_by_peft_and_by_transformers(
    config: Any, make_llama: Callable[..., Any], tokens: Any, tmp_path: Path
) -> None:
    model = trained(make_llama(), config)
    expected = model(tokens).logits
    assert not torch.equal(expected, make_llama()(tokens).logits)
    model.save_pretrained(str(tmp_path))
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".md") == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]
    assert torch.equal(PeftModel.from_pretrained(make_llama(), str(tmp_path))(tokens).logits, expected)
    plain = make_llama()
    plain.load_adapter(str(tmp_path))
    assert torch.equal(plain(tokens).logits, expected)


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_several_adapters_are_switched_disabled_and_deleted(
    config: Any, make_llama: Callable[..., Any], tokens: Any, tmp_path: Path
) -> None:
    plain = make_llama()(tokens).logits
    expected = {}
    for number, name in enumerate(("one", "two")):
        model = trained(make_llama(), config, seed=number)
        expected[name] = model(tokens).logits
        model.save_pretrained(str(tmp_path / name))
    model = PeftModel.from_pretrained(make_llama(), str(tmp_path / "one"), adapter_name="one")
    model.load_adapter(str(tmp_path / "two"), "two")
    assert torch.equal(model(tokens).logits, expected["one"])
    model.set_adapter("two")
    assert torch.equal(model(tokens).logits, expected["two"])
    with model.disable_adapter():
        assert torch.equal(model(tokens).logits, plain)
    assert torch.equal(model(tokens).logits, expected["two"])
    model.delete_adapter("one")
    assert torch.equal(model(tokens).logits, expected["two"])
    assert not any(".one." in name for name, _ in model.named_parameters())


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_gradient_checkpointing_gives_the_same_gradients(
    config: Any, reentrant: bool, make_llama: Callable[..., Any], tokens: Any
) -> None:
    found = []
    for checkpointing in (False, True):
        model = trained(make_llama(), config).train()
        if checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": reentrant})
            model.enable_input_require_grads()
        model(tokens, labels=tokens).loss.backward()
        found.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    assert all(torch.allclose(found[0][name], found[1][name], atol=1e-7) for name in found[0])
    assert all(gradient.abs().sum() > 0 for gradient in found[0].values())


@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_a_few_steps_lower_the_loss_in_bfloat16(
    config: Any, make_llama: Callable[..., Any], tokens: Any
) -> None:
    torch.manual_seed(0)
    model = get_peft_model(make_llama().to(torch.bfloat16), config).train()
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    assert {parameter.dtype for parameter in trainable} == {torch.float32}  # PEFT's own rule
    optimizer = torch.optim.AdamW(trainable, lr=0.03)
    losses = []
    for _ in range(12):
        loss = model(tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_a_merged_model_is_a_plain_one_with_equal_logits(make_llama: Callable[..., Any], tokens: Any) -> None:
    for config in (
        SeriesConfig(bottleneck_size=4, activation="identity"),
        SeriesConfig(bottleneck_size=4, activation="identity", placement="linear", scale="learned"),
        ParallelConfig(bottleneck_size=4, activation="identity", placement="linear", scale=0.5),
    ):
        model = trained(make_llama(), config)
        expected = model(tokens).logits
        merged = model.merge_and_unload(safe_merge=True)
        torch.testing.assert_close(merged(tokens).logits, expected, rtol=1e-4, atol=1e-5)
        assert set(dict(merged.named_parameters())) == set(dict(make_llama().named_parameters()))


def test_what_cannot_be_merged_is_refused_before_anything_changes(
    make_llama: Callable[..., Any], tokens: Any
) -> None:
    for config, reason in (
        (SeriesConfig(bottleneck_size=4, activation="gelu"), "activation 'gelu'"),
        (ParallelConfig(bottleneck_size=4, activation="identity"), "type LlamaMLP"),
    ):
        model = trained(make_llama(), config)
        expected = model(tokens).logits
        with pytest.raises(ModelFormatError, match=reason):
            model.merge_and_unload()
        assert torch.equal(model(tokens).logits, expected)


def test_a_layer_without_a_formula_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="abstract"):
        BottleneckLayer(torch.nn.Linear(4, 4))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("config", CONFIGS, ids=IDS)
def test_on_a_quantized_base(
    config: Any, bits: int, make_llama: Callable[..., Any], tokens: Any, tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    make_llama(hidden_size=64, intermediate_size=128).save_pretrained(tmp_path / "base")
    how = BitsAndBytesConfig(load_in_4bit=True) if bits == 4 else BitsAndBytesConfig(load_in_8bit=True)
    base = [
        AutoModelForCausalLM.from_pretrained(
            tmp_path / "base", quantization_config=how, dtype=torch.float32, device_map={"": "cpu"}
        )
        for _ in range(3)
    ]
    model = get_peft_model(base[0], config)
    # bitsandbytes computes with and without gradients in ways of its own, which differ by about 0.002.
    close = {"rtol": 0.0, "atol": 1e-2}
    torch.testing.assert_close(model(tokens).logits, base[1](tokens).logits, **close)
    shake(model, 3)
    given = model(tokens, labels=tokens)
    given.loss.backward()
    gradients = [parameter.grad for parameter in model.parameters() if parameter.requires_grad]
    assert all(gradient is not None and gradient.abs().sum() > 0 for gradient in gradients)
    model.save_pretrained(str(tmp_path / "adapter"))
    loaded = PeftModel.from_pretrained(base[2], str(tmp_path / "adapter"))
    torch.testing.assert_close(loaded(tokens).logits, given.logits, **close)
    linear = ParallelConfig(bottleneck_size=4, placement="linear", activation="identity")
    with pytest.raises(ModelFormatError, match=r"type Linear[48]bit"):
        get_peft_model(base[1], linear).merge_and_unload()


def test_weights_that_are_not_finite_are_not_merged(make_llama: Callable[..., Any]) -> None:
    config = ParallelConfig(bottleneck_size=4, activation="identity", placement="linear")
    model = trained(make_llama(), config)
    next(p for n, p in model.named_parameters() if "parallel_up" in n).data.fill_(float("nan"))
    with pytest.raises(ModelFormatError, match="finite weights after merging adapter 'default'"):
        model.merge_and_unload(safe_merge=True)


@pytest.mark.parametrize("scale", [2.0, "learned"])
def test_a_linear_parallel_adapter_is_exported_as_a_lora(
    scale: Any, make_llama: Callable[..., Any], tokens: Any, tmp_path: Path
) -> None:
    config = ParallelConfig(
        bottleneck_size=4, activation="identity", placement="linear", scale=scale, task_type="CAUSAL_LM"
    )
    model = trained(make_llama(), config)
    export_lora(model, tmp_path / "lora")
    loaded = PeftModel.from_pretrained(make_llama(), str(tmp_path / "lora"))
    assert isinstance(loaded.peft_config["default"], LoraConfig)
    torch.testing.assert_close(loaded(tokens).logits, model(tokens).logits, rtol=1e-5, atol=1e-6)


def test_what_is_no_lora_is_not_exported(make_llama: Callable[..., Any], tmp_path: Path) -> None:
    cases = (
        (SeriesConfig(bottleneck_size=4, activation="identity"), "another kind of adapter"),
        (ParallelConfig(bottleneck_size=4, placement="linear"), "activation 'tanh'"),
        (LoraConfig(target_modules=["q_proj"]), "another kind of adapter"),
    )
    for config, reason in cases:
        with pytest.raises(ModelFormatError, match=reason):
            export_lora(get_peft_model(make_llama(), config), tmp_path / "lora")
    with pytest.raises(ModelFormatError, match="none of that name"):
        export_lora(make_llama(), tmp_path / "lora")
    assert list(tmp_path.iterdir()) == []


def test_methods_do_not_mix_on_one_model(make_llama: Callable[..., Any]) -> None:
    model = get_peft_model(make_llama(), SeriesConfig(bottleneck_size=4))
    with pytest.raises(ValueError, match=r"SERIES|one method"):
        model.add_adapter("other", ParallelConfig(bottleneck_size=4))


@pytest.mark.parametrize(
    ("values", "faults"),
    [
        ({"bottleneck_size": 0, "dropout": 1.0}, ["bottleneck_size 0", "dropout 1.0"]),
        (
            {"scale": "trained", "init": "zero", "placement": "both"},
            ["scale 'trained'", "init 'zero'", "placement"],
        ),
        ({"activation": "tahn"}, ["activation 'tahn'"]),
        ({"scale": float("nan"), "bottleneck_size": True}, ["scale nan", "bottleneck_size True"]),
    ],
)
def test_every_fault_of_a_configuration_is_named_at_once(values: dict[str, Any], faults: list[str]) -> None:
    for kind in (SeriesConfig, ParallelConfig):
        with pytest.raises(ConfigError) as caught:
            kind(**values)
        assert all(fault in str(caught.value) for fault in faults)
    with pytest.raises(ConfigError, match="position 'front' where output or input"):
        SeriesConfig(position="front")


def test_targets_that_cannot_be_adapted_are_refused(make_llama: Callable[..., Any]) -> None:
    for target in ("embed_tokens", "input_layernorm"):
        with pytest.raises(ConfigError, match="linear layers or blocks among target_modules"):
            get_peft_model(make_llama(), SeriesConfig(target_modules=[target]))


def test_importing_the_room_is_all_that_another_process_needs(
    make_llama: Callable[..., Any], tmp_path: Path
) -> None:
    trained(make_llama(), SeriesConfig(bottleneck_size=4)).save_pretrained(str(tmp_path / "adapter"))
    make_llama().save_pretrained(str(tmp_path / "base"))
    code = (
        "import sys; from peft import PeftModel; from transformers import AutoModelForCausalLM\n"
        "import chatdoctor_hub.adapters\n"
        "base = AutoModelForCausalLM.from_pretrained(sys.argv[1] + '/base')\n"
        "print(type(PeftModel.from_pretrained(base, sys.argv[1] + '/adapter').base_model).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "SeriesModel", done.stderr
