"""How a step is shared between workers and cut."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.passes import learned_in, micro_batches

lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)


def samples_of(sizes: list[int]) -> list[Encoded]:
    """Samples that differ: the first token is the sample's number."""
    return [
        Encoded((number, *[0] * (size - 1)), tuple(at > 0 for at in range(size)))
        for number, size in enumerate(sizes)
    ]


@given(sizes=lengths, budget=st.integers(1, 100), workers=st.integers(1, 5), padded=st.booleans())
def test_micro_batches_share_out_the_step_within_the_budget(
    sizes: list[int], budget: int, workers: int, padded: bool
) -> None:
    step = samples_of(sizes)
    shared = micro_batches(step, budget, workers, padded=padded)
    assert len(shared) == workers
    taken = [sample.ids[0] for share in shared for batch in share for sample in batch]
    assert sorted(taken) == list(range(len(step)))
    for share in shared:
        for batch in share:
            held = max(map(len, batch)) * len(batch) if padded else sum(map(len, batch))
            assert held <= budget or len(batch) == 1
    loads = [sum(len(sample) for batch in share for sample in batch) for share in shared]
    assert max(loads) - min(loads) <= max(sizes)
    assert shared == micro_batches(step, budget, workers, padded=padded)


@pytest.mark.parametrize("kind", [tuple, numpy.asarray])
def test_a_first_token_is_never_counted_as_learned(kind: type) -> None:
    samples = [Encoded(kind([1, 2, 3]), kind([True, False, True])), Encoded(kind([4]), kind([True]))]
    assert learned_in(samples) == 1
