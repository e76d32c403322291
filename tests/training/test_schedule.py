"""Which dialogues go into which step, and how fast each step learns."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.training.encoding import Encoded
from chatdoctor_hub.training.schedule import micro_batches, rate, step_count, steps

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)
shares = st.floats(0, 1, exclude_max=True)


def samples_of(sizes: list[int]) -> list[Encoded]:
    """Samples that differ: the first token is the sample's number."""
    return [
        Encoded((number, *[0] * (size - 1)), tuple(at > 0 for at in range(size)))
        for number, size in enumerate(sizes)
    ]


@given(sizes=lengths, batch_size=st.integers(1, 40), passes=st.integers(1, 5), seed=st.integers(0, 2**31 - 1))
def test_every_pass_uses_every_sample_once(sizes: list[int], batch_size: int, passes: int, seed: int) -> None:
    samples = samples_of(sizes)
    taken = [sample.ids[0] for step in steps(samples, batch_size, float(passes), seed) for sample in step]
    whole = len(taken) // len(samples)
    for number in range(whole):
        chunk = taken[number * len(samples) : (number + 1) * len(samples)]
        assert sorted(chunk) == list(range(len(samples)))
    rest = Counter(taken[whole * len(samples) :])
    assert not rest or max(rest.values()) == 1


@given(sizes=lengths, batch_size=st.integers(1, 40), epochs=st.floats(0.05, 5), seed=st.integers(0, 99))
def test_all_steps_are_full_and_there_are_as_many_as_announced(
    sizes: list[int], batch_size: int, epochs: float, seed: int
) -> None:
    samples = samples_of(sizes)
    made = list(steps(samples, batch_size, epochs, seed))
    assert len(made) == step_count(len(samples), batch_size, epochs) >= 1
    assert {len(step) for step in made} == {batch_size}
    assert abs(len(made) * batch_size - len(samples) * epochs) <= max(batch_size, 1)
    assert made == list(steps(samples, batch_size, epochs, seed))


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    samples = samples_of([1] * 50)
    orders = [[s.ids[0] for step in steps(samples, 50, 2.0, seed) for s in step] for seed in (0, 1)]
    first, second = orders[0][:50], orders[0][50:]
    assert first != second
    assert orders[0] != orders[1]
    assert first != list(range(50))


@given(sizes=lengths, budget=st.integers(1, 100), workers=st.integers(1, 5))
def test_micro_batches_share_out_the_step_within_the_budget(
    sizes: list[int], budget: int, workers: int
) -> None:
    step = samples_of(sizes)
    shared = micro_batches(step, budget, workers)
    assert len(shared) == workers
    taken = [sample.ids[0] for share in shared for batch in share for sample in batch]
    assert sorted(taken) == list(range(len(step)))
    for share in shared:
        for batch in share:
            assert batch
            assert sum(map(len, batch)) <= budget or len(batch) == 1
    loads = [sum(len(sample) for batch in share for sample in batch) for share in shared]
    assert max(loads) - min(loads) <= max(sizes)
    assert shared == micro_batches(step, budget, workers)


@given(total=st.integers(1, 500), warmup=shares, decay=st.floats(0, 1))
def test_the_rate_stays_above_zero_and_at_most_one(total: int, warmup: float, decay: float) -> None:
    rates = [rate(step, total, warmup, decay) for step in range(total)]
    assert all(0 < value <= 1 for value in rates)
    assert rates == [rate(step, total, warmup, decay) for step in range(total)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_the_rate_rises_stays_and_falls() -> None:
    rates = [rate(step, 10, 0.2, 0.5) for step in range(10)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert [rate(step, 4, 0.0, 0.0) for step in range(4)] == [1, 1, 1, 1]
