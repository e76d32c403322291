"""The loop: threads that agree, weights that come out the same, losses that fall, faults that show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatdoctor_hub.errors import DataFormatError, GenerationError
from chatdoctor_hub.training import TrainingConfig, fit, held_out_loss
from chatdoctor_hub.training.encoding import Encoded
from chatdoctor_hub.training.passes import attention_by_dialogue
from chatdoctor_hub.training.schedule import micro_batches
from chatdoctor_hub.training.workers import Workers, one_thread_each

SETTINGS = {
    "epochs": 3.0,
    "batch_size": 4,
    "precision": "float32",
    "workers": 1,
    "lr": 1e-2,
    "max_length": 64,
}


def with_lora(model: Any, seed: int = 1, **changes: Any) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(seed)
    return get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM", **changes)
    )


def weights(model: Any, *, trained: bool | None = None) -> dict[str, Any]:
    return {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if trained is None or parameter.requires_grad == trained
    }


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    import torch

    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_neither_threads_nor_the_token_budget_change_the_gradient(
    kind: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    step, flat = draw((5, 23, 9, 17, 40, 3, 12)), kind == "llama"
    found = []
    for count, budget in ((1, 8192), (1, 16), (3, 8192), (3, 16)):
        model = with_lora(build(kind))
        for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
            # B starts at 0, where A has no gradient: move off it.
            parameter.data += 0.1 * (1 + number % 3)
        with (
            one_thread_each(count),
            attention_by_dialogue(model, flat),
            Workers(model, count, flat=flat) as crew,
        ):
            total, learned = crew.gradients(micro_batches(step, budget, count))
            found.append((total, learned, [master.grad.clone() for master in crew.masters]))
    assert found[0][1] == sum(sum(sample.labelled) for sample in step)
    assert max(gradient.abs().max() for gradient in found[0][2]) > 1e-3
    for total, learned, gradients in found[1:]:
        assert (total, learned) == (pytest.approx(found[0][0], rel=1e-6), found[0][1])
        for one, other in zip(found[0][2], gradients, strict=True):
            assert (one - other).abs().max() < 1e-5


def test_more_threads_than_dialogues_is_no_fault(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = build("llama")
    with attention_by_dialogue(model), Workers(model, 3, flat=True) as crew:
        total, learned = crew.gradients(micro_batches(draw((7,)), 64, 3))
    assert learned == 5
    assert total > 0


@pytest.mark.parametrize(("workers", "optimizer"), [(1, "adamw"), (2, "adamw"), (2, "muon")])
def test_the_same_seed_gives_the_same_weights_bit_for_bit(
    workers: int, optimizer: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    samples = draw(range(6, 22))
    settings = TrainingConfig(**{**SETTINGS, "workers": workers, "optimizer": optimizer})
    made = []
    for seed in (0, 0, 1):
        model = with_lora(build("llama"))
        fit(model, samples, settings, seed=seed)
        made.append(weights(model))
    assert same(made[0], made[1])
    assert not same(made[0], made[2])


def test_dropout_is_trained_by_one_thread_reproducibly_and_is_off_when_validating(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    samples = draw(range(6, 22))
    settings = TrainingConfig(**{**SETTINGS, "workers": 3})
    made = []
    for _ in range(2):
        model = with_lora(build("llama"), lora_dropout=0.5)
        torch.manual_seed(5)
        result = fit(model, samples, settings, validation=samples[:5])
        assert result.workers == 1
        made.append(weights(model))
        total, count = held_out_loss(model, samples[:5], settings)
        assert result.validation_loss == pytest.approx(total / count, rel=1e-5)
    assert same(made[0], made[1])
    assert fit(build("opt", dropout=0.1), samples, settings).workers == 1
    assert fit(build("opt", dropout=0.0), samples, settings).workers == 3


def test_every_thread_validates_without_dropout(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model, samples = build("opt", dropout=0.5).train(), draw(range(6, 22))
    with attention_by_dialogue(model), Workers(model, 2, flat=True) as crew:
        batches = [[sample] for sample in samples]
        first, second = crew.losses(batches), crew.losses(batches)
    assert first == second
    assert model.training


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_the_adapter_moves(
    precision: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    model = with_lora(build("llama"))
    frozen, adapter = weights(model, trained=False), weights(model, trained=True)
    assert all("lora_" in name for name in adapter)
    assert not any("lora_" in name for name in frozen)
    fit(model, draw(range(6, 22)), TrainingConfig(**{**SETTINGS, "precision": precision, "workers": 2}))
    if precision == "bfloat16":
        frozen = {name: weight.to(torch.bfloat16).float() for name, weight in frozen.items()}
    assert same(frozen, weights(model, trained=False))
    assert all(
        not torch.equal(weight, adapter[name]) for name, weight in weights(model, trained=True).items()
    )
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


@pytest.mark.parametrize(("optimizer", "lr"), [("adamw", 1e-2), ("muon", 2e-2)])
@pytest.mark.parametrize("whole", [True, False], ids=["whole-model", "adapter"])
def test_a_small_set_is_learned_by_heart(
    optimizer: str, lr: float, whole: bool, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    samples = draw((8, 9, 10, 11))
    model = build("llama") if whole else with_lora(build("llama"))
    records: list[dict[str, float]] = []
    settings = TrainingConfig(**{**SETTINGS, "epochs": 60.0, "optimizer": optimizer, "lr": lr})
    result = fit(model, samples, settings, validation=samples, on_step=records.append)
    assert result.flat
    assert result.steps == len(records) == 60
    assert records[0]["loss"] > 4
    assert records[-1]["loss"] < records[0]["loss"] / (20 if whole else 2)
    assert result.validation_loss == records[-1]["validation_loss"]
    total, count = held_out_loss(model, samples, settings)
    assert result.validation_loss == pytest.approx(total / count, rel=1e-4)
    assert not model.training


def test_each_record_says_what_the_step_did(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    samples, records = draw([10] * 16), []
    settings = TrainingConfig(**{**SETTINGS, "validations": 3, "warmup_ratio": 0.25, "decay_ratio": 0.5})
    result = fit(build("llama"), samples, settings, validation=samples[:3], on_step=records.append)
    assert [record["step"] for record in records] == list(range(1, 13))
    assert [record["tokens"] for record in records] == [40 * number for number in range(1, 13)]
    assert [record["step"] for record in records if "validation_loss" in record] == [4, 8, 12]
    assert [record["lr"] for record in records][:4] == pytest.approx([1e-2 / 3, 2e-2 / 3, 1e-2, 1e-2])
    assert result.tokens == 480
    assert result.parameters == sum(parameter.numel() for parameter in build("llama").parameters())


def test_passes_in_bfloat16_end_near_those_in_float32(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    samples = draw(range(6, 38))
    ends = {}
    for precision in ("float32", "bfloat16"):
        model = with_lora(build("llama"))
        frequencies = model.base_model.model.model.rotary_emb.inv_freq.clone()
        settings = TrainingConfig(**{**SETTINGS, "epochs": 6.0, "precision": precision})
        result = fit(model, samples, settings, validation=samples)
        assert result.precision == precision
        assert result.validation_loss is not None
        ends[precision] = result.validation_loss
        # Rotary frequencies that were rounded would make another model of it than the one that is saved.
        assert torch.equal(model.base_model.model.model.rotary_emb.inv_freq, frequencies)
    start, count = held_out_loss(build("llama"), samples, TrainingConfig(**SETTINGS))
    learned = start / count - ends["float32"]
    assert learned > 0.5
    assert abs(ends["bfloat16"] - ends["float32"]) < 0.05 * learned


def test_small_updates_add_up_in_bfloat16(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """Steps too small to change a bfloat16 weight by themselves are kept in the float32 masters."""
    samples, moved = draw(range(6, 22)), {}
    for precision in ("float32", "bfloat16"):
        model = build("llama")
        before = weights(model)["model.embed_tokens.weight"]
        fit(model, samples, TrainingConfig(**{**SETTINGS, "lr": 1e-5, "precision": precision}))
        start = before if precision == "float32" else before.bfloat16().float()
        moved[precision] = (weights(model)["model.embed_tokens.weight"] - start).abs().mean().item()
    assert moved["bfloat16"] == pytest.approx(moved["float32"], rel=0.2)
    assert moved["float32"] > 0


def test_a_loss_that_is_no_number_is_an_error(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    model = build("gpt2")
    with torch.no_grad():
        model.transformer.ln_f.weight[0] = float("nan")
    seen: list[dict[str, float]] = []
    with pytest.raises(GenerationError, match=r"step 1, found nan; lower training\.lr"):
        fit(model, draw((8, 9)), TrainingConfig(**SETTINGS), on_step=seen.append)
    assert seen == []


def test_weights_that_are_no_numbers_at_the_end_are_an_error(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = build("llama")

    def spoil(_: dict[str, float]) -> None:
        model.model.norm.weight.data[0] = float("inf")

    with pytest.raises(GenerationError, match="finite weights"):
        fit(model, draw((8, 9)), TrainingConfig(**{**SETTINGS, "epochs": 1.0}), on_step=spoil)


def test_nothing_to_fit_is_an_error_rather_than_an_endless_loop(build: Callable[..., Any]) -> None:
    with pytest.raises(DataFormatError, match="found none"):
        fit(build("llama"), [], TrainingConfig(**SETTINGS))


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_ends_its_threads_and_gives_the_attention_back(
    fault: type[BaseException], build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import threading

    import torch

    model = build("llama")
    attention, threads = model.config._attn_implementation, torch.get_num_threads()

    def stop(_: dict[str, float]) -> None:
        raise fault

    with pytest.raises(fault):
        fit(model, draw((8, 9)), TrainingConfig(**{**SETTINGS, "workers": 2}), on_step=stop)
    assert model.config._attn_implementation == attention
    assert torch.get_num_threads() == threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chatdoctor-worker")]
