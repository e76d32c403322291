"""`fit`: weights that come out the same, losses that fall, a process left as it was, faults that show."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from chatdoctor_hub.errors import ConfigError, DataFormatError, TrainingError
from chatdoctor_hub.training import TrainingConfig, fit, held_out_loss
from chatdoctor_hub.training.data.encoding import Encoded

SETTINGS = {
    "epochs": 3.0,
    "batch_size": 4,
    "precision": "float32",
    "workers": 1,
    "lr": 1e-2,
    "max_length": 64,
}


def with_lora(model: Any, seed: int = 1, **changes: Any) -> Any:
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
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


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


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_only_the_adapter_moves(
    precision: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = with_lora(build("llama"))
    frozen, adapter = weights(model, trained=False), weights(model, trained=True)
    assert all("lora_" in name for name in adapter)
    assert not any("lora_" in name for name in frozen)
    fit(model, draw(range(6, 22)), TrainingConfig(**{**SETTINGS, "precision": precision, "workers": 2}))
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
        moved[precision] = (weights(model)["model.embed_tokens.weight"] - before).abs().mean().item()
    assert moved["bfloat16"] == pytest.approx(moved["float32"], rel=0.2)
    assert moved["float32"] > 0


def test_a_loss_that_is_no_number_is_an_error(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = build("gpt2")
    with torch.no_grad():
        model.transformer.ln_f.weight[0] = float("nan")
    seen: list[dict[str, float]] = []
    with pytest.raises(TrainingError, match=r"step 1, found nan; lower training\.lr"):
        fit(model, draw((8, 9)), TrainingConfig(**SETTINGS), on_step=seen.append)
    assert seen == []


def test_weights_that_are_no_numbers_at_the_end_are_an_error(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = build("llama")

    def spoil(_: dict[str, float]) -> None:
        model.model.norm.weight.data[0] = float("inf")

    with pytest.raises(TrainingError, match="finite weights"):
        fit(model, draw((8, 9)), TrainingConfig(**{**SETTINGS, "epochs": 1.0}), on_step=spoil)


def test_nothing_to_fit_is_an_error_rather_than_an_endless_loop(build: Callable[..., Any]) -> None:
    with pytest.raises(DataFormatError, match="found none"):
        fit(build("llama"), [], TrainingConfig(**SETTINGS))


@pytest.mark.parametrize("fault", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_run_ends_its_threads_and_gives_the_attention_back(
    fault: type[BaseException], build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model = build("llama")
    attention, threads = model.config._attn_implementation, torch.get_num_threads()

    def stop(_: dict[str, float]) -> None:
        raise fault

    with pytest.raises(fault):
        fit(model, draw((8, 9)), TrainingConfig(**{**SETTINGS, "workers": 2}), on_step=stop)
    assert model.config._attn_implementation == attention
    assert torch.get_num_threads() == threads
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("chatdoctor-worker")]


def plain_loop(
    model: Any, samples: Sequence[Encoded], settings: TrainingConfig, seed: int
) -> list[dict[str, float]]:
    """What `fit` is to do, in plain torch: padded batches, one thread, the whole step at once."""
    from chatdoctor_hub.training.run import rate, step_count, steps

    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.lr, betas=settings.betas, weight_decay=0.0)
    total, records = step_count(len(samples), settings.batch_size, settings.epochs), []
    for number, step in enumerate(steps(samples, settings.batch_size, settings.epochs, seed)):
        width = max(len(sample) for sample in step)
        ids = torch.tensor([[*sample.ids, *[0] * (width - len(sample))] for sample in step])
        learned = torch.tensor([[*sample.labelled, *[False] * (width - len(sample))] for sample in step])
        mask = torch.tensor([[at < len(sample) for at in range(width)] for sample in step]).long()
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1]
        loss = torch.nn.functional.cross_entropy(logits[learned[:, 1:]], ids[:, 1:][learned[:, 1:]])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, settings.max_grad_norm)
        optimizer.param_groups[0]["lr"] = settings.lr * rate(number, total, settings)
        optimizer.step()
        optimizer.zero_grad()
        records.append({"loss": loss.item(), "lr": optimizer.param_groups[0]["lr"]})
    return records


@pytest.mark.parametrize("kind", ["llama", "bloom"])
@pytest.mark.parametrize("workers", [1, 2])
def test_steps_are_those_of_a_plain_loop(
    kind: str, workers: int, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    samples = draw(range(6, 30), seed=3)
    settings = TrainingConfig(**{**SETTINGS, "workers": workers, "token_budget": 40, "schedule": "cosine"})
    ours, plain = with_lora(build(kind)), with_lora(build(kind))
    result = fit(ours, samples, settings, seed=7)
    expected = plain_loop(plain.train(), samples, settings, 7)
    assert len(result.records) == len(expected) == 18
    for record, other in zip(result.records, expected, strict=True):
        assert record["loss"] == pytest.approx(other["loss"], abs=1e-5)
        assert record["lr"] == other["lr"]
    for name, weight in weights(plain, trained=True).items():
        assert (weights(ours)[name] - weight).abs().max() < 1e-4, name


def test_the_process_is_as_before_and_nothing_is_said(
    build: Callable[..., Any],
    draw: Callable[..., list[Encoded]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    import numpy
    from accelerate import PartialState

    monkeypatch.chdir(tmp_path)
    model = with_lora(build("llama"))
    PartialState._shared_state.clear()

    def state() -> tuple[Any, ...]:
        return (
            dict(os.environ),
            random.getstate(),
            numpy.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
            torch.get_num_threads(),
            set(vars(model)),
            model.config.to_dict(),
            dict(PartialState._shared_state),
            threading.active_count(),
        )

    before = state()
    capfd.readouterr()
    fit(model, draw(range(6, 22)), TrainingConfig(**{**SETTINGS, "workers": 2}), validation=draw((8, 9)))
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_half_precision_weights_are_trained_in_float32(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """As they come from a file: the frozen ones stay as they are, the trained ones become masters."""
    model = with_lora(build("llama")).to(torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    result = fit(model, draw(range(6, 22)), TrainingConfig(**SETTINGS))
    assert result.precision == "bfloat16"
    assert {parameter.dtype for parameter in model.parameters() if parameter.requires_grad} == {torch.float32}
    assert {p.dtype for p in model.parameters() if not p.requires_grad} == {torch.bfloat16}


def test_a_run_ends_at_max_steps(build: Callable[..., Any], draw: Callable[..., list[Encoded]]) -> None:
    result = fit(build("llama"), draw((8, 9)), TrainingConfig(**{**SETTINGS, "epochs": 50, "max_steps": 3}))
    assert result.steps == 3
    assert [record["steps"] for record in result.records] == [3, 3, 3]


def test_a_run_that_gets_no_better_stops_and_keeps_its_best_weights(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """Random words are learned by heart, and others get less likely by it."""
    samples, others = draw(range(6, 22)), draw(range(6, 14), seed=9)
    settings = {**SETTINGS, "epochs": 50, "validations": 50, "lr": 3e-2, "warmup_ratio": 0.2}
    plain = fit(with_lora(build("llama")), samples, TrainingConfig(**settings), validation=others)
    assert plain.steps == 200
    assert not plain.stopped_early
    model = with_lora(build("llama"))
    early = fit(model, samples, TrainingConfig(**settings, patience=3, keep_best=True), validation=others)
    assert early.stopped_early
    assert early.steps == early.best_step + 3 * 4 < 200
    losses = {r["step"]: r["validation_loss"] for r in early.records if "validation_loss" in r}
    assert min(losses, key=losses.__getitem__) == early.best_step
    assert early.validation_loss == losses[early.best_step] < list(losses.values())[-1]
    total, count = held_out_loss(model, others, TrainingConfig(**SETTINGS))
    assert total / count == pytest.approx(early.validation_loss, rel=1e-5)
    assert list(early.records) == list(plain.records[: early.steps])


def test_what_a_probe_finds_stands_in_the_records(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    asked: list[int] = []

    def probe() -> dict[str, float]:
        asked.append(1)
        return {"harmful_refused": len(asked) / 10}

    settings = TrainingConfig(**SETTINGS)
    result = fit(build("llama"), draw([9] * 16), settings, probe=probe, probe_times=3)
    found = {r["step"]: r["harmful_refused"] for r in result.records if "harmful_refused" in r}
    assert found == {4: 0.1, 8: 0.2, 12: 0.3}


def test_a_further_objective_stands_beside_the_loss(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    def extra(model: Any, batch: Any, logits: Any, targets: Any) -> Any:
        return 0.5 * (targets >= 0).sum() + 0.0 * logits.sum()

    result = fit(build("llama"), draw([9] * 8), TrainingConfig(**SETTINGS), extra=extra)
    assert [record["extra"] for record in result.records] == pytest.approx([0.5] * 6)


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_logger_that_is_not_installed_is_found_out_first(
    name: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from chatdoctor_hub.training.run import trainer

    monkeypatch.setattr(trainer, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"loggers.*none for {name}; run: pip install {name}"):
        fit(build("llama"), draw((8, 9)), TrainingConfig(**SETTINGS, loggers=(name,)))


def test_deepspeed_is_refused(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ConfigError, match=r"found DeepSpeed.*fsdp2"):
        fit(build("llama"), draw((8, 9)), TrainingConfig(**SETTINGS))


def test_tensorboard_is_given_the_records(
    build: Callable[..., Any],
    draw: Callable[..., list[Encoded]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.chdir(tmp_path)
    settings = TrainingConfig(**SETTINGS, loggers=("tensorboard",))
    result = fit(build("llama"), draw([9] * 8), settings, validation=draw((8, 9)))
    (folder,) = (tmp_path / "runs").iterdir()
    events = EventAccumulator(str(folder))
    events.Reload()
    losses = [event.value for event in events.Scalars("train/loss")]
    assert losses == pytest.approx([record["loss"] for record in result.records])
    assert len(events.Scalars("eval/loss")) == 4
    assert events.Scalars("train/learning_rate")
