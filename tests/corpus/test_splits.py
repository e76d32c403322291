"""`split`: nothing shared, nothing lost, whatever the order."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus import Splits, read_dialogues, split
from chatdoctor_hub.corpus.splits import SPLITS, divide, opening_words, rank_of
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError, DataFormatError


def dialogue(ask: str, say: str = "Rest.", **names: str) -> Dialogue:
    return Dialogue((Turn("patient", ask), Turn("doctor", say)), **names)


def some(count: int) -> list[Dialogue]:
    return [dialogue(f"Ache number {number}.") for number in range(count)]


def home_of(splits: Splits, item: Dialogue) -> str:
    homes = [name for name in ("train", "validation", "test") if item in getattr(splits, name)]
    assert len(homes) == 1
    return homes[0]


def test_the_published_dialogues(shared_data: Path) -> None:
    read = read_dialogues(shared_data / "chatdoctor" / "genmedgpt_4000.json")
    splits = split(read)
    assert splits.counts == {"train": len(read) - 400, "validation": 200, "test": 200}
    assert splits.duplicates == 0
    assert splits.shared() == ()
    assert split(read, seed=1).digest != splits.digest


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("I've a  cough!", "i’ve A cough"),
        ("I’ve a cough", "Ive a cough"),
        ("A cough; a cold?", "a cough\na cold"),
        ("Straße", "STRASSE"),
        ("ﬁne — café", "fine cafe\u0301"),
        ("follow-up", "Follow up"),
        ("_a_", "A"),
        ("\u0939\u093f\u0902\u0926\u0940!", "\u0939\u093f\u0902\u0926\u0940"),
    ],
)
def test_equal_words_fall_into_one_split(one: str, two: str) -> None:
    for seed in range(12):
        first, second = dialogue(one, "Rest."), dialogue(two, "Drink.")
        splits = split([first, *some(30), second], seed=seed, validation=0.3, test=0.3)
        assert home_of(splits, first) == home_of(splits, second)


def test_other_words_are_other_groups() -> None:
    words = ["one", "two", "1", "?", "!", "''", "\u0939\u093f", "\u0939\u0940"]
    for one, two in itertools.combinations(words, 2):
        assert Splits((dialogue(one),), (dialogue(two),), ()).shared() == ()


def test_exact_duplicates_are_removed_and_counted() -> None:
    items = some(20)
    again = [dialogue(item.turns[0].content, id="z", source="b") for item in items[:3]]
    splits = split([*items, *again, *again])
    assert splits.duplicates == 6
    assert sum(splits.counts.values()) == 20
    assert all(item.id == "" for item in (*splits.train, *splits.validation, *splits.test))


@pytest.mark.parametrize("count", [10, 11, 19, 100, 333])
def test_fractions_are_met_and_no_split_is_empty(count: int) -> None:
    splits = split(some(count), seed=3, validation=0.1, test=0.2)
    assert splits.counts["validation"] == max(1, round(count * 0.1))
    assert splits.counts["test"] == max(1, round(count * 0.2))
    tiny = split(some(count), validation=1e-9, test=1e-9)
    assert tiny.counts == {"train": count - 2, "validation": 1, "test": 1}
    huge = split(some(count), validation=0.4999, test=0.4999)
    assert min(huge.counts.values()) >= 1


def test_a_fraction_of_zero_is_an_empty_split() -> None:
    assert split(some(3), validation=0, test=0).counts == {"train": 3, "validation": 0, "test": 0}
    assert split(some(20), validation=0, test=0.1).counts == {"train": 18, "validation": 0, "test": 2}


def test_a_group_that_does_not_fit_trains() -> None:
    big = [dialogue("Hello.", f"Answer {number}.") for number in range(50)]
    for seed in range(5):
        splits = split([*some(50), *big], seed=seed)
        assert splits.counts == {"train": 90, "validation": 5, "test": 5}
        assert set(big) <= set(splits.train)


def test_groups_larger_than_their_splits_still_fill_them() -> None:
    items = [dialogue(f"Ache {group}.", f"Answer {number}.") for group in range(10) for number in range(6)]
    assert sorted(split(items).counts.items()) == [("test", 6), ("train", 48), ("validation", 6)]
    lopsided = split(items, validation=0.97, test=0.01)
    assert min(lopsided.counts.values()) >= 6


def test_too_few_to_divide() -> None:
    for items in ([], some(9), [dialogue("Hello.", str(number)) for number in range(100)]):
        with pytest.raises(DataFormatError, match="Expected at least 10 dialogues that open with different"):
            split(items)
    with pytest.raises(DataFormatError, match="found 0 in 0 dialogues"):
        split([], validation=0, test=0)


@pytest.mark.parametrize("fractions", [(-0.1, 0.1), (0.5, 0.5), (math.nan, 0.1), (0.1, math.inf), (2, 0)])
def test_fractions_that_cannot_be_met(fractions: tuple[float, float]) -> None:
    with pytest.raises(ConfigError, match="together less than 1"):
        split(some(20), 0, *fractions)


def test_what_is_shared_is_shown_and_refused() -> None:
    train = (dialogue("A cough."), dialogue("A cold."))
    leaky = Splits(train, (dialogue("a COUGH", "Drink."),), (dialogue("A burn."),))
    assert leaky.shared() == (train[0], leaky.validation[0])
    with pytest.raises(DataFormatError, match="found 2 dialogues that share theirs"):
        leaky.verify()
    with pytest.raises(DataFormatError, match="training split, found none"):
        Splits((), train, ()).verify()


ITEMS = st.lists(
    st.builds(
        dialogue,
        st.sampled_from(["a", "A!", "b", "c", "d d", "D-d"])
        | st.text("abcde. ", min_size=1).filter(str.strip),
        st.sampled_from(["Rest.", "Drink."]),
        id=st.sampled_from(["", "1", "2"]),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=100)
@given(
    ITEMS.map(lambda items: items + some(10)),
    st.integers(-5, 5),
    st.floats(0, 0.45),
    st.floats(0, 0.45),
    st.randoms(use_true_random=False),
)
def test_disjoint_complete_and_without_order(
    items: list[Dialogue], seed: int, validation: float, test: float, order: random.Random
) -> None:
    splits = split(items, seed, validation, test)
    assert splits.shared() == ()
    divided = [item for name in splits.counts for item in getattr(splits, name)]
    assert len(divided) + splits.duplicates == len(items)
    assert Counter(item.digest for item in divided) == Counter({item.digest for item in items})
    assert set(divided) <= set(items)
    assert splits.counts["train"] > 0
    assert (splits.counts["validation"] > 0, splits.counts["test"] > 0) == (validation > 0, test > 0)
    shuffled = list(items)
    order.shuffle(shuffled)
    assert split(shuffled, seed, validation, test) == splits


def test_the_rule_of_the_groups_alone_is_the_same() -> None:
    sizes = [3, 1, 30, 2, 1, 1, 4, 1, 1, 6]
    homes = divide(sizes, 0.1, 0.1)
    assert homes == bytearray([2, 2, 0, 1, 2, 1, 0, 1, 1, 0])
    assert divide([1, 2], 0, 0) == bytearray(2)
    with pytest.raises(DataFormatError, match="found 2 in 3 dialogues"):
        divide([1, 2], 0.1, 0.1)
    with pytest.raises(ConfigError):
        divide(sizes, 0.9, 0.9)


def test_ranks_and_opening_words() -> None:
    assert opening_words(dialogue("  Don't  PANIC! ")) == "dont panic"
    assert len({rank_of("a", 0), rank_of("a", 1), rank_of("b", 0)}) == 3
    assert len(rank_of("\ud83d", 0)) == 32
    assert tuple(split(some(10)).counts) == SPLITS
