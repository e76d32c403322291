"""`decide`: from digests alone the splits that `split` makes of the dialogues; patients joined, sums that add up."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus import split
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.building.decision import Decision, _joined, decide
from chatdoctor_hub.corpus.building.layout import Layout
from chatdoctor_hub.corpus.building.parts import Part, PartMaker
from chatdoctor_hub.corpus.building.steps import CleaningRules
from chatdoctor_hub.corpus.shards import Shards
from chatdoctor_hub.corpus.splits import SPLITS
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError

RULES = CleaningRules(min_words=1, max_words=None, deidentify=False)


def dialogue(ask: str, say: str = "Rest.", **names: str) -> Dialogue:
    return Dialogue((Turn("patient", ask), Turn("doctor", say)), **names)


def parts_of(folder: Path, items: list[Dialogue], seed: int, size: int = 7) -> list[Part]:
    maker = PartMaker(folder / "parts", RULES, seed, sketched=False)
    return [
        maker.make(at, "a", items[start : start + size])
        for at, start in enumerate(range(0, len(items), size))
    ]


def config(**changes: Any) -> CorpusConfig:
    return CorpusConfig(
        **({"sources": ["a"], "out": "x", "licence": "MIT", "near_duplicates": None} | changes)
    )


ITEMS = st.lists(
    st.builds(
        dialogue,
        st.sampled_from(["a", "A!", "b", "c", "d d", "D-d"]) | st.text("abcde.", min_size=1),
        st.sampled_from(["Rest.", "Drink."]),
        id=st.sampled_from(["1", "2", "3"]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=40)
@given(ITEMS, st.integers(0, 5), st.floats(0, 0.45), st.floats(0, 0.45), st.integers(1, 9))
def test_the_splits_are_those_of_split(
    items: list[Dialogue], seed: int, validation: float, test: float, shard_size: int
) -> None:
    # A build keeps the first of equal dialogues, by their place; split has no places.
    first = {item.digest: item for item in reversed([*items, *(dialogue(f"Ache {n}.") for n in range(10))])}
    splits = split(first.values(), seed, validation, test)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given_items = [*items, *(dialogue(f"Ache {n}.") for n in range(10))]
        parts = parts_of(folder, given_items, seed)
        decision = decide(parts, config(seed=seed, validation=validation, test=test), folder)
        assert decision.told["digest"] == splits.digest
        assert decision.told["dialogues"] == splits.counts
        assert decision.told["counts"]["read"] == len(given_items)
        assert decision.rejected.num_rows == len(given_items) - len(first)
        layout = Layout.of(folder, decision.told["dialogues"], shard_size)
        assert sum(layout.deal(parts, decision.places)) == len(first)
        assert sum(map(layout.write, range(len(layout.bins)))) == len(first)
        for split_name in SPLITS:
            own = [(folder / n, end - start) for n, start, end in layout.shards if f"/{split_name}-" in n]
            assert Shards(own) == getattr(splits, split_name)
        assert Decision.open(folder) == decision


def test_more_shards_than_files_may_be_open(tmp_path: Path) -> None:
    items = [dialogue(f"Ache {n}.") for n in range(300)]
    parts = parts_of(tmp_path, items, 0, 50)
    decision = decide(parts, config(validation=0, test=0), tmp_path)
    layout = Layout.of(tmp_path, decision.told["dialogues"], 1)
    assert (len(layout.shards), len(layout.bins)) == (300, 100)
    list(layout.deal(parts, decision.places))
    assert list(layout.deal(parts, decision.places)) == []  # once is enough
    for number in range(len(layout.bins)):
        layout.write(number)
    shards = Shards([(tmp_path / name, 1) for name, _, _ in layout.shards])
    assert shards == split(items, validation=0, test=0).train


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40))
def test_groups_are_joined_by_their_owners(pairs: list[tuple[int, int]]) -> None:
    numbers = {name: at for at, name in enumerate(sorted({group for group, _ in pairs}))}
    group = np.array([numbers[one] for one, _ in pairs])
    owner = np.unique([two for _, two in pairs], return_inverse=True)[1]
    # The plain way: names spread until nothing changes.
    plain = group.tolist()
    for _ in pairs:
        for same in (group.tolist(), owner.tolist()):
            lowest = {key: min(p for k, p in zip(same, plain, strict=True) if k == key) for key in same}
            plain = [lowest[key] for key in same]
    assert _joined(group, owner).tolist() == plain


def test_sums_that_do_not_add_up_are_noticed(tmp_path: Path) -> None:
    parts = parts_of(tmp_path, [dialogue(f"Ache {n}.") for n in range(20)], 0)
    counts = parts[0].folder / "counts.json"
    counts.write_text(counts.read_text("utf-8").replace('"read": 7', '"read": 8'), "utf-8")
    with pytest.raises(DataFormatError, match="found 21 read, 20 kept and 0 left out"):
        decide(parts, config(), tmp_path)
    assert Decision.open(tmp_path) is None
