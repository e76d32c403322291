"""The flat pass against each dialogue alone, and against the padded batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from chatdoctor_hub.training import TrainingConfig, fit, held_out_loss
from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.passes.flat import attention_by_dialogue, flatten, logits_of, takes_flat
from chatdoctor_hub.training.passes.padded import pad

FLAT = ["llama", "qwen2", "gpt2", "opt"]
LENGTHS = (5, 23, 2, 17, 40)


def alone(model: Any, samples: Sequence[Encoded]) -> Any:
    """Logits at the positions before learned tokens, each dialogue by itself."""
    import torch

    rows = []
    for sample in samples:
        logits = model(input_ids=torch.tensor([sample.ids]), use_cache=False).logits[0]
        rows.append(logits[[at - 1 for at in range(1, len(sample)) if sample.labelled[at]]])
    return torch.cat(rows)


@pytest.mark.parametrize("kind", FLAT)
def test_flat_logits_are_those_of_each_dialogue_alone(
    kind: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    import torch

    model, samples = build(kind), draw(LENGTHS)
    before = model.config._attn_implementation
    assert takes_flat(model, samples)
    with torch.no_grad():
        with attention_by_dialogue(model):
            batch = flatten(samples)
            together = logits_of(model, batch)[batch.targets != -100]
        expected = alone(model, samples)
        assert model.config._attn_implementation == before
        # The test would pass on anything if neighbours did not matter to this model.
        run_on = [Encoded(sum((s.ids for s in samples), ()), sum((s.labelled for s in samples), ()))]
        assert (alone(model, run_on)[-5:] - expected[-5:]).abs().max() > 1e-2
    assert together.shape == expected.shape
    assert (together - expected).abs().max() < 1e-5


@pytest.mark.parametrize("kind", FLAT)
def test_flat_and_padded_gradients_are_equal(
    kind: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    model, samples = build(kind), draw(LENGTHS)
    padded_loss, padded_count, padded = _gradients(model, samples, flat=False)
    flat_loss, flat_count, flat = _gradients(model, samples, flat=True)
    assert flat_count == padded_count == sum(sum(sample.labelled[1:]) for sample in samples)
    assert flat_loss == pytest.approx(padded_loss, rel=1e-6)
    assert flat.keys() == padded.keys()
    for name, gradient in padded.items():
        assert (flat[name] - gradient).abs().max() < 1e-5, name
    assert max(gradient.abs().max() for gradient in padded.values()) > 1e-3


def loss_of(model: Any, samples: Sequence[Encoded], *, flat: bool) -> tuple[Any, int]:
    """Sum of the negative log-likelihoods of the learned tokens, and how many they are."""
    import torch

    batch = flatten(samples) if flat else pad(samples)
    loss = torch.nn.functional.cross_entropy(logits_of(model, batch).float(), batch.targets, reduction="sum")
    return loss, int((batch.targets != -100).sum())


def _gradients(model: Any, samples: Sequence[Encoded], *, flat: bool) -> tuple[float, int, dict[str, Any]]:
    """Of the mean loss over the learned tokens."""
    model.zero_grad()
    with attention_by_dialogue(model, flat):
        loss, count = loss_of(model, samples, flat=flat)
        (loss / count).backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return loss.item() / count, count, found


@pytest.mark.parametrize("kind", ["mistral", "bloom", "gemma2"])
def test_architectures_that_attend_otherwise_are_found_out(
    kind: str, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """A window shorter than a dialogue, no choice of attention, capped scores."""
    model = build(kind)
    before = model.config._attn_implementation
    assert not takes_flat(model, draw((5, 40)))
    assert model.config._attn_implementation == before


def test_a_window_longer_than_every_dialogue_is_no_hindrance(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    assert takes_flat(build("mistral", sliding_window=64), draw((5, 40)))


@pytest.mark.parametrize(("window", "flat"), [(128, True), (64, False)])
def test_fitting_tries_the_longest_dialogue_before_it_lays_any_flat(
    window: int, flat: bool, build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    """A window of 64 hides nothing from the many short dialogues, only from the last."""
    import torch

    model, samples = build("mistral", sliding_window=window), draw([4] * 80 + [100])
    settings = TrainingConfig(epochs=0.1, batch_size=8, workers=1, precision="float32", lr=1e-4)
    assert fit(model, samples, settings).flat is flat
    assert fit(model, samples[:80], settings, validation=samples[80:]).flat is flat
    total, count = held_out_loss(model, samples, settings)
    with torch.no_grad():
        expected = sum(_loss_alone(model, sample) for sample in samples)
    assert count == sum(sum(sample.labelled[1:]) for sample in samples)
    assert total == pytest.approx(expected, rel=1e-5)


def _loss_alone(model: Any, sample: Encoded) -> float:
    import torch

    targets = [sample.ids[at] for at in range(1, len(sample)) if sample.labelled[at]]
    logits = alone(model, [sample])
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(targets), reduction="sum"))


def test_no_label_crosses_from_one_dialogue_into_the_next() -> None:
    # Each dialogue's first token is labelled: nothing before it may be asked to predict it.
    first = Encoded((11, 12, 13), (True, False, True))
    second = Encoded((21, 22), (True, True))
    third = Encoded((31,), (True,))
    batch = flatten([first, second, third])
    learned = batch.targets != -100
    assert batch.targets[learned].tolist() == [13, 22]
    assert batch.keep[learned].tolist() == [1, 3]
    assert batch.ids[0, :6].tolist() == [11, 12, 13, 21, 22, 31]
    assert batch.positions[0, :6].tolist() == [0, 1, 2, 0, 1, 0]
    assert batch.bounds[:4].tolist() == [0, 3, 5, 6]


@pytest.mark.parametrize("length", [1, 63, 64, 65, 128])
def test_rounding_adds_a_dialogue_of_its_own(length: int, draw: Callable[..., list[Encoded]]) -> None:
    batch = flatten(draw([length, 3]))
    total = batch.ids.shape[1]
    assert total % 64 == 0
    assert length + 3 <= total < length + 3 + 64
    assert batch.positions.shape == batch.ids.shape
    assert batch.bounds[-1] == total
    if total > length + 3:
        assert batch.bounds.tolist() == [0, length, length + 3, total]
        assert batch.positions[0, length + 3 :].tolist() == list(range(total - length - 3))
    assert batch.keep.shape == batch.targets.shape
    assert len(batch.keep) % 64 == 0


def test_nothing_is_learned_from_the_filler(
    build: Callable[..., Any], draw: Callable[..., list[Encoded]]
) -> None:
    # Token 0 is in no sample, only in the filler; untied, so that only being read could move its row.
    model, samples = build("llama", tie_word_embeddings=False), draw((5, 23))
    with attention_by_dialogue(model):
        loss, count = loss_of(model, samples, flat=True)
        loss.backward()
    row = model.get_input_embeddings().weight.grad
    assert row[0].abs().max() == 0
    assert row[samples[0].ids[0]].abs().max() > 0
    assert count == sum(sum(sample.labelled) for sample in samples)


def test_the_models_own_attention_is_back_after_an_error(build: Callable[..., Any]) -> None:
    model = build("llama")
    before = model.config._attn_implementation

    def interrupted() -> None:
        with attention_by_dialogue(model):
            assert model.config._attn_implementation != before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert model.config._attn_implementation == before
