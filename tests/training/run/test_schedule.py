"""Which dialogues go into which step, and how fast each step learns."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.training.data.encoding import Encoded
from chatdoctor_hub.training.recipe import TrainingConfig
from chatdoctor_hub.training.run.schedule import moments, rate, step_count, step_numbers, steps

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


@given(
    samples=st.integers(1, 60),
    batch_size=st.integers(1, 40),
    seed=st.integers(0, 99),
    step=st.integers(0, 50),
)
def test_a_step_is_a_function_of_its_number_alone(
    samples: int, batch_size: int, seed: int, step: int
) -> None:
    """Whatever was asked before, and in whatever order."""
    found = step_numbers(samples, batch_size, seed, step)
    for other in range(5):
        step_numbers(samples + other, batch_size, seed + 1, other)
    assert step_numbers(samples, batch_size, seed, step) == found
    made = samples_of([1] * samples)
    epochs = (step + 1) * batch_size / samples
    (last,) = [
        [sample.ids[0] for sample in drawn] for drawn in steps(made, batch_size, epochs, seed, start=step)
    ]
    assert last == found


def test_dialogues_are_read_when_their_step_comes() -> None:
    read: list[int] = []

    class Read(list[Encoded]):
        def __getitem__(self, index: int) -> Encoded:  # type: ignore[override]
            read.append(index)
            return super().__getitem__(index)

    drawn = steps(Read(samples_of([3] * 1000)), 4, 1.0, 0)
    assert read == []
    next(drawn)
    assert len(read) == 4


@given(total=st.integers(1, 500), times=st.integers(1, 40))
def test_moments_are_spread_over_the_run_and_the_last_step_is_one(total: int, times: int) -> None:
    found = sorted(moments(total, times))
    assert found[-1] == total - 1
    assert found[0] >= 0
    assert len(found) == min(times, total) or times > total / 2
    gaps = [right - left for left, right in pairwise(found)]
    assert not gaps or max(gaps) <= total / times + 1


def test_never_is_at_no_moment() -> None:
    assert moments(10, 0) == frozenset()


settings_of = st.builds(
    TrainingConfig,
    schedule=st.sampled_from(["trapezoid", "linear", "cosine", "constant"]),
    warmup_ratio=shares,
    warmup_steps=st.none() | st.integers(0, 100),
    decay_ratio=st.floats(0, 1),
)


@given(total=st.integers(1, 300), settings=settings_of)
def test_the_rate_stays_above_zero_and_at_most_one(total: int, settings: TrainingConfig) -> None:
    rates = [rate(step, total, settings) for step in range(total)]
    assert all(0 < value <= 1 for value in rates)
    assert rates == [rate(step, total, settings) for step in range(total)]
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


@given(total=st.integers(4, 300), warmup=st.integers(0, 100), settings=settings_of)
def test_the_highest_rate_is_reached_after_the_warm_up(
    total: int, warmup: int, settings: TrainingConfig
) -> None:
    settings = settings.model_copy(update={"warmup_steps": warmup, "decay_ratio": 0.0})
    rates = [rate(step, total, settings) for step in range(total)]
    if warmup <= total:
        assert rates[max(0, warmup - 1)] == pytest.approx(1)
    for step in range(min(warmup, total)):
        assert rates[step] == pytest.approx((step + 1) / warmup)
    if settings.schedule == "constant":
        assert set(rates[warmup:]) <= {1.0}


def rates_of(schedule: str, total: int, warmup: int = 0, decay: float = 0.0) -> list[float]:
    settings = TrainingConfig(schedule=schedule, warmup_steps=warmup, decay_ratio=decay)
    return [rate(step, total, settings) for step in range(total)]


def test_the_rate_rises_stays_and_falls() -> None:
    assert rates_of("trapezoid", 10, 2, 0.5) == pytest.approx([0.5, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])
    assert rates_of("linear", 5, 2) == pytest.approx([0.5, 1, 0.75, 0.5, 0.25])
    assert rates_of("cosine", 5, 2) == pytest.approx([0.5, 1, 0.853553, 0.5, 0.146447], abs=1e-6)
    assert rates_of("constant", 4, 2) == [0.5, 1, 1, 1]
    assert rates_of("trapezoid", 4) == [1, 1, 1, 1]
    ratio = TrainingConfig(schedule="constant", warmup_ratio=0.5)
    assert [rate(step, 4, ratio) for step in range(4)] == [0.5, 1, 1, 1]


def test_max_steps_end_a_run() -> None:
    assert step_count(100, 10, 2.0) == 20
    assert step_count(100, 10, 2.0, 7) == 7
    assert step_count(100, 10, 2.0, 700) == 20
