from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

numpy = pytest.importorskip("numpy")

from chatdoctor_hub.training.planning.lengths import histogram, share_if_padded  # noqa: E402

LENGTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=200)


@given(LENGTHS)
def test_every_length_is_counted_once_in_the_bar_that_holds_it(lengths):
    bars = histogram(numpy.array(lengths, dtype=numpy.int32))
    assert sum(bars.values()) == len(lengths)
    assert len(bars) <= 10
    edges = [tuple(map(int, name.split("-"))) for name in bars]
    assert all(high + 1 == low for (_, high), (low, _) in itertools.pairwise(edges))
    for (low, high), count in zip(edges, bars.values(), strict=True):
        assert count == sum(low <= length <= high for length in lengths)


def test_bars_have_round_widths():
    assert histogram(numpy.array([120, 130, 260, 300], dtype=numpy.int32)) == {
        "97-128": 1,
        "129-160": 1,
        "161-192": 0,
        "193-224": 0,
        "225-256": 0,
        "257-288": 1,
        "289-320": 1,
    }
    assert histogram(numpy.array([], dtype=numpy.int32)) == {}


def test_shares_of_padded_batches_by_hand():
    lengths = numpy.array([10, 20, 30, 40, 50], dtype=numpy.int32)
    assert share_if_padded(lengths, 2) == pytest.approx(150 / (2 * 20 + 2 * 40 + 50))
    assert share_if_padded(lengths, 1) == 1.0
    assert share_if_padded(lengths, 2, 100) == pytest.approx(150 / 500)
    assert share_if_padded(numpy.array([], dtype=numpy.int32), 4) == 1.0


@given(LENGTHS, st.integers(1, 64))
def test_padding_never_adds_real_tokens_and_longer_batches_waste_no_less_than_none(lengths, size):
    found = share_if_padded(numpy.array(lengths, dtype=numpy.int32), size)
    by_hand = sum(lengths) / sum(
        max(lengths[at : at + size]) * len(lengths[at : at + size]) for at in range(0, len(lengths), size)
    )
    assert found == pytest.approx(by_hand)
    assert 0 < found <= 1
