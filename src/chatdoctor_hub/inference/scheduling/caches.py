"""Key-value caches of several rows: told apart, joined, cut and begun from one that is kept.

A cache here is a `DynamicCache` of transformers whose rows end at the same column; what a row has less than the
widest is padding at its left, hidden by the mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import DynamicCache

__all__ = ["bytes_of", "can_be_begun", "can_join", "close_gaps", "cut", "expanded", "join", "own"]


def can_join(cache: Any) -> bool:
    """Whether rows can be added: every layer attends to all tokens, or to the last ones, and to nothing else."""
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    from chatdoctor_hub.inference.scheduling.layers import RoomyLayer

    return _consists_of(cache, RoomyLayer, DynamicLayer, DynamicSlidingWindowLayer)


def can_be_begun(cache: Any) -> bool:
    """Whether rows can begin with what another row has computed: every layer attends to all tokens."""
    from transformers.cache_utils import DynamicLayer

    from chatdoctor_hub.inference.scheduling.layers import RoomyLayer

    return _consists_of(cache, RoomyLayer, DynamicLayer)


def _consists_of(cache: Any, *kinds: type) -> bool:
    from transformers import DynamicCache

    return type(cache) is DynamicCache and all(type(layer) in kinds for layer in cache.layers)


def bytes_of(cache: DynamicCache) -> int:
    """What its keys and values take."""
    return sum(tensor.nbytes for layer in _filled(cache) for tensor in (layer.keys, layer.values))


def join(cache: DynamicCache, other: DynamicCache) -> None:
    """Add the rows of the other cache below its own; the narrower one is padded at its left."""
    import torch

    for mine, theirs in zip(_filled(cache), _filled(other), strict=True):
        width = max(mine.keys.shape[2], theirs.keys.shape[2])
        for name in ("keys", "values"):
            both = [_padded(getattr(layer, name), width) for layer in (mine, theirs)]
            setattr(mine, name, torch.cat(both))
        if hasattr(mine, "cumulative_length"):
            mine.cumulative_length = max(mine.cumulative_length, theirs.cumulative_length)


def cut(cache: DynamicCache, columns: int) -> None:
    """Drop the first columns, which are padding in every row."""
    for layer in _filled(cache):
        width = layer.keys.shape[2]
        keep = width - columns
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length -= columns
            keep = min(width, layer.cumulative_length)
        layer.keys, layer.values = layer.keys[:, :, width - keep :], layer.values[:, :, width - keep :]


def expanded(cache: DynamicCache, kept: DynamicCache, rows: int, columns: int | None = None) -> DynamicCache:
    """The cache, so that all its rows begin with that of a kept one.

    Nothing is copied: what is written later goes to tensors of its own.

    Args:
        cache: empty, of the same kinds of layers.
        kept: of one row.
        rows: how many are to begin with it.
        columns: how much of it; all by default.
    """
    for layer, source in zip(cache.layers, kept.layers, strict=True):
        if source.keys is None:
            continue
        keys, values = (
            (tensor if columns is None else tensor[:, :, :columns]).expand(rows, -1, -1, -1)
            for tensor in (source.keys, source.values)
        )
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        if hasattr(layer, "cumulative_length"):
            layer.cumulative_length = source.cumulative_length
    return cache


def close_gaps(cache: DynamicCache, begun: int, gaps: Sequence[int]) -> None:
    """Move the beginnings of the rows to the right, next to what follows, so that all padding is at the left.

    Args:
        cache: of rows of [beginning | padding | rest].
        begun: columns of the beginning.
        gaps: columns of padding, one number a row.
    """
    import torch

    layers = _filled(cache)
    column = torch.arange(layers[0].keys.shape[2])
    gap = torch.tensor(gaps).unsqueeze(1)
    source = torch.where(column < gap + begun, (column - gap).clamp(min=0), column)
    for layer in layers:
        index = source.to(layer.keys.device)[:, None, :, None]
        for name in ("keys", "values"):
            tensor = getattr(layer, name)
            setattr(layer, name, tensor.gather(2, index.expand(-1, tensor.shape[1], -1, tensor.shape[3])))


def own(cache: DynamicCache) -> None:
    """Make its tensors its own: a part of a longer one would keep all of it in memory."""
    for layer in _filled(cache):
        if hasattr(layer, "own"):
            layer.own()
        else:
            layer.keys, layer.values = layer.keys.clone(), layer.values.clone()


def _filled(cache: DynamicCache) -> list[Any]:
    """The layers that hold something; one that shares the keys of another does not."""
    return [layer for layer in cache.layers if layer.keys is not None]


def _padded(tensor: torch.Tensor, width: int) -> torch.Tensor:
    from torch.nn.functional import pad

    return pad(tensor, (0, 0, width - tensor.shape[2], 0))
