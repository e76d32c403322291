"""`group_near_duplicates`: texts that say nearly the same, found among millions in nearly linear time.

The rows of equal signature are one row first. The others are compared where they agree on a whole band of
permutations (`Banding`), one band at a time: the bands' hashes are sorted, and only rows that stand together
are looked at. Each pair is checked by the similarity that the two signatures estimate, and the pairs that
pass are joined. That is the scheme of J. Leskovec, A. Rajaraman, J. D. Ullman, "Mining of Massive Datasets",
3.4, which datasketch's `MinHashLSH` keeps in dictionaries of Python objects; sorted arrays hold 2.4 million
rows in a few hundred megabytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.corpus.cleaning.sketches import Banding
from chatdoctor_hub.errors import DataFormatError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SplitDuplicates", "duplicates_by_split", "group_near_duplicates"]

_CHUNK = 1 << 15  # rows whose signatures are read at once: 16 MB of 128 permutations
_SCATTERED = 1 << 11  # the same where each row is on another page of a memory map
_HASH_BYTES = 1 << 28  # band hashes held at once
_PAIRS = 1 << 20  # pairs joined at once
_ALL_PAIRS = 16  # rows of one band hash up to which all pairs are compared
_PIVOTS = 64  # rows of a larger one that are compared with all others


def group_near_duplicates(
    signatures: NDArray[np.unsignedinteger[Any]], threshold: float = 0.8
) -> NDArray[np.int64]:
    """For each row the lowest row of its group; a row alone is its own.

    Two rows are joined when their signatures agree in a share of at least `threshold` of their places, and
    a group is what is joined directly or through others: its ends may be less alike than the threshold.
    The groups do not depend on the order of the rows.

    Missed is a pair that agrees on no band (`Banding.miss_probability`: 1.8 % at a threshold and similarity
    of 0.8, 0.1 % at 0.85), unless others join it. Where more than 16 rows agree on a band, they are compared
    with up to 64 of them in turn and not each with each, so that the time stays linear; of rows that are all
    nearly alike none is missed by that.

    Args:
        signatures: of one `Sketcher`; (n, permutations) unsigned integers: an array, a memory map, or what is
            read like one, by slices and by arrays of row numbers, few at a time.
        threshold: estimated Jaccard similarity, above 0, at most 1.

    Returns:
        (n,) row numbers, from 0.

    Raises:
        ConfigError: for a threshold out of range.
        DataFormatError: for an array of another shape or kind.
        MissingExtraError: without numpy or datasketch (extra `corpus`).
    """
    np = _numpy()
    if signatures.ndim != 2 or signatures.dtype.kind != "u":
        raise DataFormatError(
            "Expected signatures as rows of unsigned integers, found an array of "
            f"{signatures.ndim} dimensions and type {signatures.dtype}; make them with Sketcher.sketch_many."
        )
    banding = Banding.of(threshold, signatures.shape[1])
    rows, first = _distinct(signatures)
    parent = np.arange(len(rows))
    if threshold < 1:
        for hashes in _band_hashes(signatures, rows, banding):
            for pairs in _gathered(_similar_pairs(signatures, rows, hashes, parent, threshold)):
                _join(parent, pairs)
    lowest = np.full(len(rows), len(signatures), np.int64)
    np.minimum.at(lowest, parent[first], np.arange(len(signatures)))
    found: NDArray[np.int64] = lowest[parent[first]]
    return found


def _distinct(signatures: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """One row of each distinct signature, in the order of their hashes; for every row its place among them.

    That order depends on the signatures alone, and with it all that follows.
    """
    np = _numpy()
    width = signatures.shape[1]
    digests = np.empty(len(signatures), np.uint64)
    for start in range(0, len(signatures), _CHUNK):
        digests[start : start + _CHUNK] = _hashed(np.asarray(signatures[start : start + _CHUNK]), 0, width)
    order = np.argsort(digests, kind="stable")
    ranked = digests[order]
    is_new = np.ones(len(order), bool)
    is_new[1:] = ranked[1:] != ranked[:-1]
    # 64 bits of hash say "equal" for unlike signatures once in ten million corpora of two million rows.
    first = np.empty(len(order), np.int64)
    first[order] = np.cumsum(is_new) - 1
    return order[is_new], first


def _hashed(block: NDArray[Any], start: int, end: int) -> NDArray[np.uint64]:
    """A 64-bit hash of the places start … end of each signature; (n, permutations) -> (n,)."""
    np = _numpy()
    total = np.full(len(block), 0x9E3779B97F4A7C15, np.uint64)
    for place in range(start, end):
        total ^= block[:, place]
        total *= np.uint64(0xFF51AFD7ED558CCD)
        total ^= total >> np.uint64(32)
    found: NDArray[np.uint64] = total
    return found


def _band_hashes(
    signatures: NDArray[Any], rows: NDArray[np.int64], banding: Banding
) -> Iterator[NDArray[np.uint64]]:
    """The hashes of one band after another, each (len(rows),); as many bands a pass as the room allows."""
    np = _numpy()
    at_once = max(1, _HASH_BYTES // (8 * max(1, len(signatures))))
    place = np.full(len(signatures), -1, np.int64)
    place[rows] = np.arange(len(rows))
    for low in range(0, banding.bands, at_once):
        bands = range(low, min(low + at_once, banding.bands))
        hashes = np.empty((len(bands), len(rows)), np.uint64)
        # In the order of the file, since a memory map is read by pages.
        for start in range(0, len(signatures), _CHUNK):
            places = place[start : start + _CHUNK]
            block = np.asarray(signatures[start : start + _CHUNK])[places >= 0]
            for number, band in enumerate(bands):
                columns = band * banding.rows, (band + 1) * banding.rows
                hashes[number, places[places >= 0]] = _hashed(block, *columns)
        yield from hashes


def _gathered(found: Iterator[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """The same pairs in fewer arrays, since each joining of pairs looks at every row."""
    np = _numpy()
    held: list[NDArray[np.int64]] = []
    count = 0
    for pairs in found:
        held.append(pairs)
        count += len(pairs)
        if count >= _PAIRS:
            yield np.concatenate(held)
            held, count = [], 0
    if count:
        yield np.concatenate(held)


def _similar_pairs(
    signatures: NDArray[Any],
    rows: NDArray[np.int64],
    hashes: NDArray[np.uint64],
    parent: NDArray[np.int64],
    threshold: float,
) -> Iterator[NDArray[np.int64]]:
    """Pairs of one band that pass the check, as arrays (n, 2) of places in `rows`."""
    np = _numpy()
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    bounds = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1], [True]]))
    starts, sizes = bounds[:-1], np.diff(bounds)
    for size in np.unique(sizes[(sizes > 1) & (sizes <= _ALL_PAIRS)]):
        runs = starts[sizes == size]
        for one, other in itertools.combinations(range(int(size)), 2):
            pairs = np.column_stack([order[runs + one], order[runs + other]])
            pairs = pairs[parent[pairs[:, 0]] != parent[pairs[:, 1]]]
            yield pairs[_agree(signatures, rows[pairs[:, 0]], rows[pairs[:, 1]], threshold)]
    for run in np.flatnonzero(sizes > _ALL_PAIRS):
        members = order[starts[run] : starts[run] + sizes[run]]
        yield from _around_pivots(signatures, rows, members, parent, threshold)


def _around_pivots(
    signatures: NDArray[Any],
    rows: NDArray[np.int64],
    members: NDArray[np.int64],
    parent: NDArray[np.int64],
    threshold: float,
) -> Iterator[NDArray[np.int64]]:
    """Pairs of a row with the rows like it, then of one of the others with those like that, and so on."""
    np = _numpy()
    for _ in range(_PIVOTS):
        pivot, members = members[0], members[1:]
        members = members[parent[members] != parent[pivot]]
        like = _agree(signatures, rows[[pivot]], rows[members], threshold)
        if like.any():
            yield np.column_stack([np.full(like.sum(), pivot), members[like]])
        members = members[~like]
        if len(members) < 2:
            return


def _agree(
    signatures: NDArray[Any], one: NDArray[np.int64], other: NDArray[np.int64], threshold: float
) -> NDArray[np.bool_]:
    """Whether the signatures of two rows agree in enough places; one row against many, or pair by pair."""
    np = _numpy()
    needed = threshold * signatures.shape[1] - 1e-9
    found = np.empty(len(other), bool)
    fixed = np.asarray(signatures[one]) if len(one) == 1 else None
    for start in range(0, len(other), _SCATTERED):
        chunk = slice(start, start + _SCATTERED)
        left = np.asarray(signatures[one[chunk]]) if fixed is None else fixed
        equal = left == np.asarray(signatures[other[chunk]])
        found[chunk] = np.count_nonzero(equal, axis=1) >= needed
    return found


def _join(parent: NDArray[np.int64], pairs: NDArray[np.int64]) -> None:
    """Union-find on arrays: `parent` holds the root of every place, before and after."""
    np = _numpy()
    while len(pairs):
        roots = np.sort(parent[pairs], axis=1)
        pairs = pairs[roots[:, 0] != roots[:, 1]]
        roots = roots[roots[:, 0] != roots[:, 1]]
        np.minimum.at(parent, roots[:, 1], roots[:, 0])
        while True:
            above = parent[parent]
            if np.array_equal(above, parent):
                break
            parent[:] = above


@dataclass(frozen=True)
class SplitDuplicates:
    """Near-duplicates within and across splits.

    Args:
        within: for each split the rows that have a near-duplicate before them in it.
        across: for each two splits that share a group the rows of the second one that are in such a group.
    """

    within: dict[str, int]
    across: dict[tuple[str, str], int]


def duplicates_by_split(groups: NDArray[np.int64], splits: Sequence[str]) -> SplitDuplicates:
    """Count near-duplicates within and across splits.

    Args:
        groups: for each row the lowest row of its group, as `group_near_duplicates` returns it; (n,).
        splits: for each row the name of its split; n of them. Splits come in the order in which they first
            occur, which for `across` means ("train", "test") and the rows of the test split.

    Raises:
        DataFormatError: when the lengths differ.
    """
    np = _numpy()
    if len(groups) != len(splits):
        raise DataFormatError(
            f"Expected the name of a split for each of {len(groups)} rows, found {len(splits)} names; "
            "pass one for each."
        )
    names = list(dict.fromkeys(splits))
    numbers = {name: number for number, name in enumerate(names)}
    homes = np.fromiter((numbers[name] for name in splits), np.int64, len(splits))
    members = {name: groups[homes == number] for name, number in numbers.items()}
    within = {name: len(rows) - len(np.unique(rows)) for name, rows in members.items()}
    across = {
        (one, other): int(np.isin(members[other], members[one]).sum())
        for one, other in itertools.combinations(names, 2)
    }
    return SplitDuplicates(within, {pair: count for pair, count in across.items() if count})


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtraError("numpy", "corpus") from None
    return numpy
