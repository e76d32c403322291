"""Near-duplicates: what is planted is found, what differs is left alone, whatever the order and the size."""

from __future__ import annotations

import itertools
import json
import math
import random
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.cleaning import duplicates
from chatdoctor_hub.corpus.cleaning.duplicates import (
    SplitDuplicates,
    duplicates_by_split,
    group_near_duplicates,
)
from chatdoctor_hub.corpus.cleaning.sketches import Banding, Sketcher, shingles
from chatdoctor_hub.errors import ConfigError, DataFormatError, MissingExtraError
from chatdoctor_hub.proportion import Proportion


def text(rng: random.Random, length: int = 130) -> str:
    return " ".join(f"w{rng.randrange(3000)}" for _ in range(length))


def edited(original: str, rng: random.Random, edits: int) -> str:
    words = original.split()
    for place in rng.sample(range(len(words)), edits):
        words[place] = f"x{rng.randrange(10**6)}"
    return " ".join(words)


def jaccard(one: str, other: str) -> float:
    left, right = (set(values.tolist()) for values in shingles([one, other]))
    return len(left & right) / len(left | right)


def partition(groups: np.ndarray, names: np.ndarray | None = None) -> set[frozenset[int]]:
    found: dict[int, set[int]] = {}
    for row, group in enumerate(groups.tolist()):
        found.setdefault(group, set()).add(row if names is None else int(names[row]))
    return {frozenset(members) for members in found.values()}


def components(count: int, pairs: list[tuple[int, int]]) -> list[int]:
    """The lowest member of what each is joined to, the slow way."""
    lowest = list(range(count))
    while True:
        before = list(lowest)
        for one, other in pairs:
            lowest[one] = lowest[other] = min(lowest[one], lowest[other])
        if lowest == before:
            return lowest


def by_the_book(signatures: np.ndarray, threshold: float) -> list[int]:
    """All pairs that agree on a band and in enough places."""
    banding = Banding.of(threshold, signatures.shape[1])
    pairs = []
    for one, other in itertools.combinations(range(len(signatures)), 2):
        same = signatures[one] == signatures[other]
        bands = same[: banding.bands * banding.rows].reshape(banding.bands, banding.rows)
        if bands.all(axis=1).any() and same.mean() >= threshold - 1e-9:
            pairs.append((one, other))
    return components(len(signatures), pairs)


def test_planted_near_duplicates_are_found() -> None:
    """500 texts of 130 words, four of them replaced: similarity about .83, found in at least 97 % (95 % bound)."""
    rng = random.Random(0)
    originals = [text(rng) for _ in range(500)]
    copies = [edited(original, rng, 4) for original in originals]
    similar = np.array([jaccard(*pair) for pair in zip(originals, copies, strict=True)])
    assert 0.8 < similar.mean() < 0.86
    groups = group_near_duplicates(Sketcher(0.7).sketch_many(originals + copies), 0.7)
    found = Proportion.of(groups[500:] == np.arange(500))
    assert found.low > 0.97, str(found)
    assert (groups[:500] == np.arange(500)).all(), "distinct texts are not grouped"


def test_at_the_threshold_itself_half_the_pairs_are_found() -> None:
    """The estimate of a pair at the threshold falls on either side of it; no recall is promised there."""
    rng = random.Random(1)
    originals = [text(rng) for _ in range(400)]
    copies = [edited(original, rng, 5) for original in originals]  # similarity about .79
    groups = group_near_duplicates(Sketcher(0.8).sketch_many(originals + copies), 0.8)
    found = Proportion.of(groups[400:] == np.arange(400))
    assert 0.3 < found.rate < 0.7, str(found)


def test_clear_duplicates_at_the_default_threshold() -> None:
    rng = random.Random(2)
    originals = [text(rng) for _ in range(500)]
    copies = [edited(original, rng, 1).upper() + "!" for original in originals]
    groups = group_near_duplicates(Sketcher().sketch_many(originals + copies))
    assert (groups[500:] == np.arange(500)).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10**6), st.sampled_from([0.5, 0.6, 0.8, 0.95, 1.0]), st.sampled_from([16, 64, 128]))
def test_the_groups_are_those_of_the_slow_way(seed: int, threshold: float, permutations: int) -> None:
    rng = np.random.default_rng(seed)
    bases = rng.integers(0, 2**32, (4, permutations), np.uint32)
    rows = bases[rng.integers(0, 4, 14)]
    changed = rng.random(rows.shape) < rng.choice([0, 0.05, 0.2, 0.4], (14, 1))
    rows = np.where(changed, rng.integers(0, 2**32, rows.shape, np.uint32), rows).astype(np.uint32)
    groups = group_near_duplicates(rows, threshold)
    assert groups.dtype == np.int64
    assert groups.tolist() == by_the_book(rows, threshold)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6))
def test_true_similarity_decides(seed: int) -> None:
    """Pairs of texts well above the threshold are joined, and well below are not: four standard errors."""
    rng = random.Random(seed)
    one = text(rng, rng.choice([12, 60, 200]))
    other = edited(one, rng, rng.randrange(len(one.split()) // 3))
    similarity = jaccard(one, other)
    joined = bool(group_near_duplicates(Sketcher(0.7).sketch_many([one, other]), 0.7)[1] == 0)
    margin = 4 * math.sqrt(0.7 * 0.3 / 128)
    if similarity >= 0.7 + margin:
        assert joined
    if similarity <= 0.7 - margin:
        assert not joined


def family(count: int, permutations: int = 128, share: float = 0.03, seed: int = 0) -> np.ndarray:
    """Rows that are nearly alike, each in its own way."""
    rng = np.random.default_rng(seed)
    rows = np.tile(rng.integers(0, 2**32, permutations, np.uint32), (count, 1))
    return np.where(
        rng.random(rows.shape) < share, rng.integers(0, 2**32, rows.shape, np.uint32), rows
    ).astype(np.uint32)


def test_the_order_of_the_rows_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    rows = np.concatenate(
        [
            family(300, share=0.1),
            family(40, share=0.25, seed=1),
            family(200, share=0.6, seed=2),
            family(1, seed=3),
        ]
    )
    expected = partition(group_near_duplicates(rows, 0.7))
    assert 1 < len(expected) < len(rows)
    for _ in range(5):
        order = rng.permutation(len(rows))
        assert partition(group_near_duplicates(rows[order], 0.7), order) == expected


def test_a_group_is_called_by_its_lowest_row() -> None:
    rows = np.concatenate([family(1, seed=9), family(3, seed=8), family(1, seed=7), family(2, seed=8)])
    assert group_near_duplicates(rows).tolist() == [0, 1, 1, 1, 4, 1, 1]


def test_a_chain_is_one_group() -> None:
    """Its ends are less alike than the threshold, as the docstring says."""
    row = np.arange(1, 129, dtype=np.uint32)
    rows = np.tile(row, (6, 1))
    for number in range(1, 6):
        rows[number:, (number - 1) * 20 : number * 20] += np.uint32(1000)
    rows = rows[np.random.default_rng(0).permutation(6)]
    assert (rows[0] == rows[1]).mean() < 1
    assert set(group_near_duplicates(rows, 0.6).tolist()) == {0}


@pytest.mark.parametrize("kind", ["equal", "alike", "one band alike"])
def test_large_families_take_no_quadratic_time(kind: str) -> None:
    count = 40_000
    if kind == "equal":
        rows = family(count, share=0)
    elif kind == "alike":
        rows = family(count, share=0.03)
    else:
        rows = np.random.default_rng(0).integers(0, 2**32, (count, 128), np.uint32)
        rows[:, :7] = 5
    start = time.perf_counter()
    groups = group_near_duplicates(rows, 0.8)
    assert time.perf_counter() - start < 20, "all pairs would take minutes"
    assert len(np.unique(groups)) == (count if kind == "one band alike" else 1)


def test_a_memory_map_is_read_in_pieces(tmp_path: Path) -> None:
    count = 60_000
    signatures = np.lib.format.open_memmap(tmp_path / "s.npy", "w+", np.uint32, (count, 128))
    signatures[:] = np.random.default_rng(0).integers(0, 2**32, (count, 128), np.uint32)
    signatures[count // 2 :: 100] = signatures[: count // 2 : 100]
    signatures.flush()
    mapped = np.load(tmp_path / "s.npy", mmap_mode="r")
    # Arrays that hang on a memory map are not counted, so that the peak is what is held beside it.
    tracemalloc.start()
    groups = group_near_duplicates(mapped, 0.8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6, f"{peak / 1e6:.0f} MB"
    assert np.array_equal(groups, group_near_duplicates(signatures[:], 0.8))
    changed = np.flatnonzero(groups != np.arange(count))
    assert np.array_equal(changed, np.arange(count // 2, count, 100))
    assert np.array_equal(groups[changed], np.arange(0, count // 2, 100))


def test_bands_and_pairs_in_many_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.concatenate([family(50, share=0.15), family(30, share=0.3, seed=1)])
    expected = group_near_duplicates(rows, 0.6)
    monkeypatch.setattr(duplicates, "_HASH_BYTES", 8 * len(rows) * 3)
    monkeypatch.setattr(duplicates, "_CHUNK", 7)
    monkeypatch.setattr(duplicates, "_SCATTERED", 5)
    monkeypatch.setattr(duplicates, "_PAIRS", 3)
    assert np.array_equal(group_near_duplicates(rows, 0.6), expected)


def test_none_and_one() -> None:
    assert group_near_duplicates(np.empty((0, 128), np.uint32)).tolist() == []
    assert group_near_duplicates(family(1)).tolist() == [0]
    assert group_near_duplicates(np.full((3, 128), 2**32 - 1, np.uint32)).tolist() == [0, 0, 0]


def similar_pairs(texts: list[str], least: float) -> dict[tuple[int, int], float]:
    """The true similarity of all pairs that have at least so much."""
    sets = [set(values.tolist()) for values in shingles(texts)]
    homes: dict[int, list[int]] = {}
    found = {}
    for row, values in enumerate(sets):
        shared = Counter(other for value in values for other in homes.get(value, ()))
        for other, common in shared.items():
            similarity = common / (len(values) + len(sets[other]) - common)
            if similarity >= least:
                found[other, row] = similarity
        for value in values:
            homes.setdefault(value, []).append(row)
    return found


def test_the_published_dialogues(shared_data: Path) -> None:
    """No two whole dialogues are near-duplicates; some questions are, and they are found."""
    records = json.loads((shared_data / "chatdoctor" / "genmedgpt_4000.json").read_text("utf-8"))
    wholes = [f"{record['input']}\n{record['output']}" for record in records]
    assert np.array_equal(group_near_duplicates(Sketcher(0.6).sketch_many(wholes), 0.6), np.arange(4000))
    questions = [record["input"] for record in records]
    true = similar_pairs(questions, 0.4)
    margin = 4 * math.sqrt(0.6 * 0.4 / 128)
    for threshold, count in ((0.6, 66), (0.7, 17), (0.8, 8)):
        assert sum(similarity >= threshold for similarity in true.values()) == count
        groups = group_near_duplicates(Sketcher(threshold).sketch_many(questions), threshold)
        clear = [pair for pair, similarity in true.items() if similarity >= threshold + margin]
        assert all(groups[one] == groups[other] for one, other in clear)
        likely = [pair for pair, similarity in true.items() if similarity >= threshold - margin]
        within = components(4000, likely)
        assert all(within[row] == within[lowest] for row, lowest in enumerate(groups.tolist()))
        assert (groups != np.arange(4000)).any()


def test_within_and_across_splits() -> None:
    groups = np.array([0, 0, 2, 3, 2, 3, 3, 7])
    splits = ["train", "train", "train", "train", "test", "test", "test", "spare"]
    assert duplicates_by_split(groups, splits) == SplitDuplicates(
        {"train": 1, "test": 1, "spare": 0}, {("train", "test"): 3}
    )
    assert duplicates_by_split(np.empty(0, np.int64), []) == SplitDuplicates({}, {})
    with pytest.raises(DataFormatError, match="name of a split for each of 8 rows, found 1 names"):
        duplicates_by_split(groups, ["train"])


def test_what_are_no_signatures() -> None:
    for array in (np.zeros(5, np.uint32), np.zeros((5, 128)), np.zeros((5, 128), np.int64)):
        with pytest.raises(DataFormatError, match="Expected signatures as rows of unsigned integers"):
            group_near_duplicates(array)
    for threshold in (0, 1.5, math.nan):
        with pytest.raises(ConfigError, match="as threshold"):
            group_near_duplicates(family(2), threshold)


def test_without_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = family(2)
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(MissingExtraError, match=r"chatdoctor-hub\[corpus\]"):
        group_near_duplicates(rows)
