"""The cache with room for tokens to come, against that of transformers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add one", "rows", "cut", "own"]), st.integers(1, 40)),
    max_size=12,
)


def changed(layers, step, number, generator):
    from transformers import DynamicCache

    from chatdoctor_hub.inference.scheduling.caches import cut, own

    width = layers[0].keys.shape[2] if layers[0].keys is not None else 0
    rows = layers[0].keys.shape[0] if width else 3
    caches = [DynamicCache() for _ in layers]
    for cache, layer in zip(caches, layers, strict=True):
        cache.layers = [layer]
    if step.startswith("add") or not width:
        new = torch.randn(rows, 2, 1 if step == "add one" else number, 4, generator=generator)
        return [layer.update(new, -new) for layer in layers]
    for cache in caches:
        if step == "rows":
            cache.reorder_cache(torch.tensor([number % rows] * max(1, rows - 1)))
        elif step == "cut" and number < width:
            cut(cache, number)
        elif step == "own":
            own(cache)
    return [(layer.keys, layer.values) for layer in layers]


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_a_layer_with_room_holds_what_a_plain_one_holds(steps):
    from transformers.cache_utils import DynamicLayer

    from chatdoctor_hub.inference.scheduling.layers import RoomyLayer

    layers = [DynamicLayer(), RoomyLayer()]
    generator = torch.Generator().manual_seed(0)
    for step, number in steps:
        (keys, values), (roomy_keys, roomy_values) = changed(layers, step, number, generator)
        assert torch.equal(keys, roomy_keys)
        assert torch.equal(values, roomy_values)
        assert layers[0].get_seq_length() == layers[1].get_seq_length()


def test_tokens_are_written_beside_those_there_are():
    from chatdoctor_hub.inference.scheduling.layers import RoomyLayer

    layer = RoomyLayer()
    layer.update(torch.ones(1, 1, 10, 4), torch.ones(1, 1, 10, 4))
    place = layer.keys.data_ptr()
    for _ in range(32):
        layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    assert layer.keys.data_ptr() == place
    layer.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4))
    assert layer.keys.data_ptr() != place
