"""Lengths of the dialogues of a run: their histogram, and what padding would cost."""

from __future__ import annotations

from typing import Any

__all__ = ["histogram", "share_if_padded"]

_BARS = 8


def histogram(lengths: Any) -> dict[str, int]:
    """Counts of dialogues by length, "129-192" -> 37, in bars of equal, round width.

    Args:
        lengths: int array (n,), tokens of each dialogue.
    """
    import numpy

    if not len(lengths):
        return {}
    shortest, longest = int(lengths.min()), int(lengths.max())
    width = _round_up(max(1, (longest - shortest) // _BARS + 1))
    first = (shortest - 1) // width
    counts = numpy.bincount((lengths.astype(numpy.int64) - 1) // width - first)
    return {
        f"{(first + at) * width + 1}-{(first + at + 1) * width}": int(count)
        for at, count in enumerate(counts)
    }


def _round_up(value: int) -> int:
    """To 1, 2, 4, 8 or 16 times a power of 16: widths that read well."""
    width = 1
    while width < value:
        width *= 2
    return width


def share_if_padded(lengths: Any, batch_size: int, length: int | None = None) -> float:
    """Share of real tokens among those computed, were each batch padded.

    Args:
        lengths: int array (n,), in the order in which they are used.
        batch_size: dialogues that are padded to the longest among them.
        length: pad all of them to this length instead.
    """
    import numpy

    if not len(lengths):
        return 1.0
    real = float(lengths.sum(dtype="int64"))
    if length is not None:
        return real / (len(lengths) * max(length, int(lengths.max())))
    starts = numpy.arange(0, len(lengths), batch_size)
    longest = numpy.maximum.reduceat(lengths, starts).astype(numpy.int64)
    sizes: Any = numpy.diff(numpy.append(starts, len(lengths)))
    return real / float((longest * sizes).sum())
