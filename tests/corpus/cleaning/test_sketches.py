"""Signatures: datasketch's own, bit for bit, of shingles that are what they are said to be."""

from __future__ import annotations

import hashlib
import math
import random
import sys

import datasketch
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatdoctor_hub.corpus.cleaning import sketches
from chatdoctor_hub.corpus.cleaning.sketches import Banding, Sketcher, fold, shingles, spoken_text
from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ConfigError, MissingExtraError

TEXTS = st.one_of(
    st.lists(st.sampled_from(["the", "Ache", "of", "my", "left", "knee", "头", "疼", "ปวด", "7.5"])).map(
        " ".join
    ),
    st.text(alphabet=st.sampled_from("ab ’'-.头痛三天了吗\u3042ข\u0e31 \n")),
    st.text(),
)


def h(word: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little"
    )


def value(words: list[str]) -> int:
    return sum((h(f"place {place}") | 1) * h(word) for place, word in enumerate(words)) % 2**64


UNSPACED = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3041, 0x30FF),
    (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF),
)  # fmt: skip


def is_unspaced(word: str) -> bool:
    """Thai and Lao, Burmese, Khmer, Japanese, Chinese with its extensions."""
    return len(word) == 1 and any(low <= ord(word) <= high for low, high in UNSPACED)


def expected(words: list[str]) -> list[int]:
    """The shingles as the docstring has them, one by one."""
    runs = [words[place : place + (5 if is_unspaced(word) else 3)] for place, word in enumerate(words)]
    whole = [run for run in runs if len(run) == (5 if is_unspaced(run[0]) else 3)]
    return [value(run) for run in whole] or ([value(words)] if words else [])


def of(text: str) -> list[int]:
    return next(shingles([text])).tolist()


@given(TEXTS)
def test_shingles_are_three_words_or_five_characters(text: str) -> None:
    assert sorted(of(text)) == sorted(expected(fold(text)))


NEW_DATASKETCH = pytest.mark.skipif(
    not hasattr(datasketch.MinHash(2), "scheme"), reason="datasketch 1 has other permutations"
)


@NEW_DATASKETCH
@settings(deadline=None)
@given(st.lists(TEXTS, max_size=4), st.sampled_from([2, 16, 128]), st.integers(0, 2**32 - 1))
def test_signatures_are_those_of_datasketch(texts: list[str], permutations: int, seed: int) -> None:
    found = Sketcher(0.5, permutations, seed).sketch_many(texts)
    assert found.dtype == np.uint32
    assert found.shape == (len(texts), permutations)
    for text, signature in zip(texts, found, strict=True):
        theirs = datasketch.MinHash(permutations, seed, hashfunc=int)
        theirs.update_batch([number >> 32 for number in expected(fold(text))])
        assert np.array_equal(theirs.hashvalues, signature)


@NEW_DATASKETCH
def test_a_long_text_is_sketched_in_parts() -> None:
    words = [f"w{number}" for number in range(2000)]
    theirs = datasketch.MinHash(128, 3, hashfunc=int)
    theirs.update_batch([number >> 32 for number in expected(fold(" ".join(words)))])
    assert np.array_equal(Sketcher(seed=3).sketch(" ".join(words)), theirs.hashvalues)


def test_signatures_stay_the_same() -> None:
    """Corpora made with other releases, of this package or its dependencies, compare."""
    found = Sketcher(permutations=4, seed=7).sketch("My left knee aches when I climb the stairs.")
    assert found.tolist() == [238408569, 740083927, 277219093, 183356275]


def test_the_signature_is_that_of_the_text_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not of its neighbours, the batch, what was sketched before, or the threshold."""
    monkeypatch.setattr(sketches, "_BATCH", 7)
    rng = random.Random(1)
    texts = [
        " ".join(rng.choices(["a", "b", "c", "d", "e", "头", "疼", "fever"], k=rng.randrange(12)))
        for _ in range(50)
    ]
    together = Sketcher(seed=5).sketch_many(iter(texts))
    monkeypatch.setattr(sketches, "_VOCABULARY", 2)
    sketches._HASHES.clear()
    alone = np.array([Sketcher(0.6, seed=5).sketch(text) for text in texts])
    assert np.array_equal(together, alone)
    assert len(sketches._HASHES) <= 2
    assert not np.array_equal(together, Sketcher(seed=6).sketch_many(texts))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("I've a  COUGH!", "i’ve a cough"),
        ("Ive a cough", "I've a cough."),
        ("Straße", "STRASSE"),
        ("ﬁne — café", "fine cafe\u0301"),
        ("follow-up\u2028now", "Follow up (now)"),
        ("_a_", "A"),
        ("我头疼，三天了。", "我 头疼\n三天了"),
        ("\uff21\uff22\uff23\u3000１２", "abc 12"),
    ],
)
def test_what_is_folded_away(one: str, two: str) -> None:
    assert fold(one) == fold(two)
    assert np.array_equal(Sketcher().sketch(one), Sketcher().sketch(two))


def test_what_is_not_folded_away() -> None:
    assert fold("5 mg") != fold("50 mg")
    assert fold("हिंदी") == ["हिंदी"]
    assert fold("维生素B12片") == ["维", "生", "素", "b12", "片"]
    assert fold("?!") == ["?!"] != fold("!!")
    assert fold(" \n") == fold("") == []
    assert set(of("one two three")) != set(of("three two one"))
    assert of("a b") != of("b a")


def test_an_empty_text() -> None:
    assert of("") == []
    assert (Sketcher().sketch("") == 2**32 - 1).all()
    assert Sketcher().sketch_many([]).shape == (0, 128)


@given(
    st.lists(st.sampled_from(["ab", "cd", "ef", "头", "疼", "三", "天", "ache"]), min_size=5, max_size=12),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_the_shingles_of_a_part_are_shingles_of_the_whole(part: list[str], before: str, after: str) -> None:
    text = " ".join(part)
    assert set(of(text)) <= set(of(f"{before}\n{text}\n{after}"))


def test_agreement_estimates_the_similarity() -> None:
    """In 200 pairs of known similarity the mean error is nought and the spread √(s(1 − s)/128)."""
    rng = random.Random(0)
    scores = []
    sketcher = Sketcher()
    for _ in range(200):
        words = [f"w{rng.randrange(10**9)}" for _ in range(100)]
        edited = list(words)
        for place in rng.sample(range(100), 3):
            edited[place] = "other"
        one, two = set(of(" ".join(words))), set(of(" ".join(edited)))
        true = len(one & two) / len(one | two)
        left, right = sketcher.sketch_many([" ".join(words), " ".join(edited)])
        scores.append(((left == right).mean() - true) / math.sqrt(true * (1 - true) / 128))
    assert abs(np.mean(scores)) < 4 / math.sqrt(200)
    assert 0.85 < np.std(scores) < 1.15


def test_bands_are_chosen_as_datasketch_chooses_them() -> None:
    for threshold in (0.5, 0.7, 0.8, 0.95):
        index = datasketch.MinHashLSH(threshold=threshold, num_perm=128, weights=(0.02, 0.98))
        assert Banding.of(threshold) == Banding(index.b, index.r)
    assert Sketcher(0.8).banding == Banding(17, 7)
    assert Banding.of(1) == Banding(1, 128)
    assert Banding.of(0.99, 2) in (Banding(1, 2), Banding(2, 1))
    for threshold in np.linspace(0.02, 1, 25):
        for permutations in (2, 3, 64, 128):
            banding = Banding.of(float(threshold), permutations)
            assert banding.bands * banding.rows <= permutations


def test_the_probability_to_miss_a_pair() -> None:
    assert Banding(17, 7).miss_probability(0.8) == pytest.approx((1 - 0.8**7) ** 17)
    assert Banding.of(0.8).miss_probability(0.8) < 0.02
    assert Banding.of(0.8).miss_probability(0.85) < 0.002
    assert Banding(9, 13).miss_probability(0.8) > 0.6, "datasketch's own choice"
    assert Banding(3, 4).miss_probability(1) == 0
    assert Banding(3, 4).miss_probability(0) == 1


def test_what_is_said_in_a_dialogue() -> None:
    turns = (Turn("system", "Be brief."), Turn("patient", "Hello"), Turn("doctor", "Hi"))
    assert spoken_text(Dialogue(turns)) == "Hello\nHi"


@pytest.mark.parametrize("threshold", [0, -1, 1.01, math.nan, math.inf])
def test_a_threshold_out_of_range(threshold: float) -> None:
    with pytest.raises(ConfigError, match=r"as threshold, found .*; try 0\.8"):
        Sketcher(threshold)


def test_other_settings_out_of_range() -> None:
    with pytest.raises(ConfigError, match="at least 2 permutations in a signature, found 1"):
        Sketcher(permutations=1)
    for seed in (-1, 2**32):
        with pytest.raises(ConfigError, match="Expected a seed from 0"):
            Sketcher(seed=seed)


@pytest.mark.parametrize("package", ["numpy", "datasketch"])
def test_a_missing_extra(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    sketches._banding.cache_clear()
    with pytest.raises(MissingExtraError, match=r"chatdoctor-hub\[corpus\]"):
        Sketcher().sketch("a")
