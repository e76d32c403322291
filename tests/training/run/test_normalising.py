"""The loss of a step is a mean over its learned tokens, however the step is cut up: against float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from chatdoctor_hub.training import TrainingConfig, fit
from chatdoctor_hub.training.data.encoding import Encoded

torch = pytest.importorskip("torch")

LEARNED = {3: 1, 60: 50, 11: 2, 34: 34, 8: 1, 21: 5}  # tokens of a dialogue -> learned ones, at its end


@pytest.fixture
def step(draw: Callable[..., list[Encoded]]) -> list[Encoded]:
    """Dialogues of one step, some of which have many learned tokens and some a single one."""
    return [
        Encoded(sample.ids, tuple(at >= len(sample) - LEARNED[len(sample)] for at in range(len(sample))))
        for sample in draw(list(LEARNED), seed=5)
    ]


def padded(model: Any, step: list[Encoded]) -> tuple[Any, Any]:
    """Summed loss and learned tokens of each dialogue, in one padded batch in float64."""
    model = model.double()
    width = max(map(len, step))
    ids = torch.tensor([[*sample.ids, *[0] * (width - len(sample))] for sample in step])
    labelled = torch.tensor([[*sample.labelled, *[False] * (width - len(sample))] for sample in step])
    real = torch.tensor([[at < len(sample) for at in range(width)] for sample in step])
    logits = model(input_ids=ids, attention_mask=real.long()).logits[:, :-1]
    each = torch.nn.functional.cross_entropy(logits.transpose(1, 2), ids[:, 1:], reduction="none")
    return (each * labelled[:, 1:]).sum(1), labelled[:, 1:].sum(1)


def seen_by_the_optimizer(model: Any, step: list[Encoded], **changes: Any) -> tuple[float, dict[str, Any]]:
    """The loss that a run of one step records, and the gradients that its optimizer is given."""
    from torch.optim.optimizer import register_optimizer_step_pre_hook

    seen: dict[str, Any] = {}

    def look(*_: Any) -> None:
        seen.update({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})

    settings = {
        "batch_size": len(step),
        "epochs": 1.0,
        "max_grad_norm": 1e9,
        "precision": "float32",
        **changes,
    }
    hook = register_optimizer_step_pre_hook(look)
    try:
        result = fit(model, step, TrainingConfig(**settings))
    finally:
        hook.remove()
    assert result.steps == 1
    return result.records[0]["loss"], seen


@pytest.mark.parametrize("budget", [1, 64, 4096], ids=["each-alone", "some-together", "all-at-once"])
@pytest.mark.parametrize(
    ("kind", "workers", "speed"),
    [("llama", 1, "auto"), ("llama", 2, "auto"), ("llama", 1, "portable"), ("bloom", 1, "portable")],
)
def test_a_step_is_normalised_by_its_learned_tokens(
    kind: str, workers: int, speed: str, budget: int, build: Callable[..., Any], step: list[Encoded]
) -> None:
    still = {"hidden_dropout": 0.0, "attention_dropout": 0.0} if kind == "bloom" else {}
    loss, found = seen_by_the_optimizer(
        build(kind, **still), step, token_budget=budget, workers=workers, speed=speed
    )
    reference = build(kind, **still)
    totals, counts = padded(reference, step)
    # The first token of a dialogue is labelled in one of these and is never predicted.
    assert counts.tolist() == [min(count, size - 1) for size, count in LEARNED.items()]
    mean = totals.sum() / counts.sum()
    mean.backward()
    assert loss == pytest.approx(mean.item(), rel=1e-6)
    assert abs((totals / counts).mean().item() - mean.item()) > 0.1  # what a mean of means would be
    expected = {name: p.grad for name, p in reference.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    largest = max(gradient.norm().item() for gradient in expected.values())
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm().item() < 1e-5 * largest, name
