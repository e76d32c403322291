"""`Passes` over whole steps: what is added up, in which precision, by whom, and what is left afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from chatdoctor_hub.training import TrainingConfig
from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes import Passes, precision_for

LENGTHS = (5, 23, 2, 17, 40, 9)
EXACT: dict[str, Any] = {"precision": "float32", "workers": 1, "token_budget": 64}


def passes_over(model: Any, samples: list[Encoded], extra: Any = None, **changes: Any) -> Passes:
    settings = TrainingConfig(**{**EXACT, **changes})
    return Passes(model, settings, [max(samples, key=len), min(samples, key=len)], extra=extra)


def gradients_of(model: Any) -> dict[str, Any]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def by_hand(model: Any, samples: list[Encoded]) -> tuple[float, int, dict[str, Any]]:
    """Each dialogue alone, by the model's own forward, the loss over all learned tokens."""
    import torch

    model.zero_grad()
    total, count = 0.0, 0
    for sample in samples:
        kept = [at for at in range(1, len(sample)) if sample.labelled[at]]
        logits = model(torch.tensor([sample.ids]), use_cache=False).logits[0, [at - 1 for at in kept]]
        loss = torch.nn.functional.cross_entropy(
            logits, torch.tensor([sample.ids[at] for at in kept]), reduction="sum"
        )
        loss.backward()
        total, count = total + loss.item(), count + len(kept)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad /= count
    found = gradients_of(model)
    model.zero_grad()
    return total, count, found


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("kind", ["llama", "bloom"])
def test_the_gradient_of_all_weights_is_that_of_each_dialogue_alone(
    kind: str, workers: int, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    changes = {"hidden_dropout": 0.0, "attention_dropout": 0.0} if kind == "bloom" else {}
    model, samples = build(kind, **changes), draw(LENGTHS)
    total, count, expected = by_hand(model, samples)
    with passes_over(model, samples, workers=workers) as passes:
        assert (passes.workers, passes.flat) == (workers, kind == "llama")
        loss = passes.gradients(samples)
    found = gradients_of(model)
    assert (loss.total, loss.learned) == (pytest.approx(total, rel=1e-5), count)
    assert found.keys() == expected.keys()
    largest = max(float(gradient.norm()) for gradient in expected.values())
    for name, gradient in expected.items():
        assert float((found[name] - gradient).norm()) < 1e-5 * max(largest, 1.0), name


def test_prefix_tuning_goes_through_its_own_wrapper_padded(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    from peft import PrefixTuningConfig, get_peft_model

    samples = draw(LENGTHS)
    model = get_peft_model(
        build("llama"), PrefixTuningConfig(num_virtual_tokens=4, task_type="CAUSAL_LM")
    ).eval()
    total, _, expected = by_hand(model, samples)
    for budget in (16, 8192):
        model.zero_grad()
        with passes_over(model, samples, token_budget=budget) as passes:
            assert (passes.flat, passes.fused) == (False, False)
            assert passes.gradients(samples).total == pytest.approx(total, rel=1e-5)
        (name,) = expected
        assert (gradients_of(model)[name] - expected[name]).abs().max() < 1e-5
    assert expected[name].abs().max() > 1e-4


def test_gradients_add_to_what_is_there_and_may_be_normalised_by_others(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model, samples = build("llama"), draw(LENGTHS)
    with passes_over(model, samples) as passes:
        whole = passes.gradients(samples)
        expected = gradients_of(model)
        model.zero_grad()
        first = passes.gradients(samples[:2], learned=whole.learned)
        second = passes.gradients(samples[2:], learned=whole.learned)
    assert first.learned + second.learned == whole.learned
    assert first.total + second.total == pytest.approx(whole.total, rel=1e-6)
    for name, gradient in gradients_of(model).items():
        assert (gradient - expected[name]).abs().max() < 1e-5, name


def test_repeated_steps_are_equal_bit_for_bit_whatever_the_threads_do(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    model, samples = build("llama"), draw(range(4, 40))
    with passes_over(model, samples, workers=3, precision="bfloat16") as passes:
        made = []
        for _ in range(3):
            model.zero_grad()
            passes.gradients(samples)
            made.append(gradients_of(model))
    assert all(torch.equal(made[0][name], other[name]) for other in made[1:] for name in other)


def test_copies_in_bfloat16_follow_their_float32_masters(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    model, samples = build("llama"), draw(LENGTHS)
    with passes_over(model, samples, precision="bfloat16") as passes:
        assert passes.precision is torch.bfloat16
        before, _ = passes.losses(samples)
        passes.gradients(samples)
        assert all(gradient.dtype == torch.float32 for gradient in gradients_of(model).values())
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.05 * parameter.grad
        after, _ = passes.losses(samples)
    assert after < before - 1
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_model_can_be_asked_while_it_is_trained(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """Probes generate with it between two steps: with a cache, padding and logits for all positions."""
    import torch
    from peft import LoraConfig, get_peft_model

    model, samples = (
        get_peft_model(build("llama"), LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM")).eval(),
        draw(LENGTHS),
    )
    ids = torch.tensor([samples[1].ids])
    with torch.no_grad():
        logits, said = model(ids).logits, model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
        with passes_over(model, samples) as passes:
            assert passes.fused
            passes.losses(samples)
            assert torch.equal(model(ids).logits, logits)
            again = model.generate(input_ids=ids, max_new_tokens=4, do_sample=False)
            assert torch.equal(again, said)


def test_a_further_objective_is_added_and_told_apart(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model, samples = build("llama"), draw(LENGTHS)

    def twice(model: Any, batch: Any, logits: Any, targets: Any) -> Any:
        import torch

        return torch.nn.functional.cross_entropy(logits, targets, reduction="sum")

    with passes_over(model, samples) as passes:
        plain = passes.gradients(samples)
        expected = gradients_of(model)
    model.zero_grad()
    with passes_over(model, samples, extra=twice) as passes:
        loss = passes.gradients(samples)
        assert passes.losses(samples)[0] == pytest.approx(plain.total, rel=1e-5)
    assert (loss.total, loss.extra) == (pytest.approx(plain.total), pytest.approx(plain.total))
    for name, gradient in gradients_of(model).items():
        assert (gradient - 2 * expected[name]).abs().max() < 1e-4, name


def test_random_numbers_are_drawn_by_one_thread_and_not_while_measuring(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    model, samples = build("opt", dropout=0.5), draw(LENGTHS)
    with passes_over(model, samples, workers=3) as passes:
        assert (passes.workers, passes.why) == (1, "the model drops activations at random")
        assert passes.losses(samples) == passes.losses(samples)
        torch.manual_seed(0)
        first = passes.gradients(samples).total
        assert passes.gradients(samples).total != first
        torch.manual_seed(0)
        assert passes.gradients(samples).total == first


def test_a_fault_in_a_thread_is_raised_and_everything_is_put_back(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    def fail(*_: Any) -> Any:
        raise RuntimeError("broken objective")

    model, samples, threads = build("llama"), draw(LENGTHS), torch.get_num_threads()
    attention, training = model.config._attn_implementation, model.training
    with (
        pytest.raises(RuntimeError, match="broken objective"),
        passes_over(model, samples, fail, workers=2) as passes,
    ):
        passes.gradients(samples)
    assert (model.config._attn_implementation, model.training) == (attention, training)
    assert torch.get_num_threads() == threads
    assert not [item for item in threading.enumerate() if item.name.startswith("chatdoctor-worker")]


def test_more_threads_than_dialogues_is_no_fault(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    samples = draw((7,))
    with passes_over(build("llama"), samples, workers=3) as passes:
        assert passes.gradients(samples).learned == 5
        assert passes.gradients([], learned=5).learned == 0


def test_exact_speed_means_float32() -> None:
    import torch

    cpu = torch.device("cpu")
    assert precision_for(TrainingConfig(speed="exact"), cpu) is torch.float32
    assert precision_for(TrainingConfig(precision="bfloat16"), cpu) is torch.bfloat16
    assert precision_for(TrainingConfig(precision="float32"), cpu) is torch.float32
