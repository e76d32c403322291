"""`Sketcher`: texts as short MinHash signatures, so that near-duplicates are found without comparing all pairs.

A text is the set of its shingles: every run of three words, letter case, punctuation and white space folded
away. Three, not the five or more of web pages, because a patient's question has twenty words: one word edited
breaks three of its shingles and not five. In scripts without spaces between words (Chinese, Japanese, Thai,
Lao, Khmer, Burmese) a shingle is five characters, which is two or three words. What a shingle is depends on
its own words alone, so that those of a part are shingles of the whole. A text shorter than one is one.

The signature is that of datasketch 2 (scheme "affine32"), equal bit for bit to `MinHash(num_perm, seed,
hashfunc=int)` after `update_batch` of the upper halves of the shingles' values. It is computed here because
arithmetic on whole arrays takes a third of the time of a SHA-1 for each shingle and an object for each text.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Banding", "Sketcher", "fold", "shingles", "spoken_text"]

_WORDS = 3
_CHARACTERS = 5
_BATCH = 512  # texts hashed together
_ROWS = 256  # shingles permuted together: their table of 128 permutations stays in the processor's cache
_VOCABULARY = 1 << 18  # words whose hash is remembered
# A candidate pair is checked, so one too many costs time and one too few is lost.
_WEIGHTS = (0.02, 0.98)

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\U00020000-\U000323af]"
)
_APOSTROPHES = "'’`´ʼ"


class _Folding(dict[int, str]):
    """What a character becomes: itself (letters, marks, numbers), a word of its own, or a space."""

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        if sign in _APOSTROPHES:
            folded = ""
        elif _UNSPACED.match(sign):
            folded = f" {sign} "
        else:
            folded = sign if unicodedata.category(sign)[0] in "LMN" else " "
        self[code] = folded
        return folded


class _WordHashes(dict[str, int]):
    """64 bits of BLAKE2 for each word, remembered for the words seen last."""

    def __missing__(self, word: str) -> int:
        value = _hash64(word)
        if len(self) >= _VOCABULARY:
            self.clear()
        self[word] = value
        return value


def _hash64(word: str) -> int:
    data = word.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


_FOLDING = _Folding()
_HASHES = _WordHashes()
# Odd factors, one for each place in a shingle, so that the order of its words counts.
_FACTORS = tuple(_hash64(f"place {place}") | 1 for place in range(_CHARACTERS))


def fold(text: str) -> list[str]:
    """The words of a text without letter case and punctuation; characters where a script has no spaces.

    A text of signs alone ("?!") is one word, itself; an empty one has none.
    """
    folded = text.casefold()
    if not text.isascii():
        # Folded again, since the compatible form of a sign may be a capital letter.
        folded = unicodedata.normalize("NFKC", folded).casefold()
    words = folded.translate(_FOLDING).split()
    if not words and (bare := text.strip()):
        return [bare]
    return words


def spoken_text(dialogue: Dialogue) -> str:
    """All that patient and doctor say, a line a turn; the text by which dialogues are compared."""
    return "\n".join(turn.content for turn in dialogue.turns if turn.role != "system")


def shingles(texts: Iterable[str]) -> Iterator[NDArray[np.uint64]]:
    """The shingles of each text as 64-bit values, repetitions included; an empty text has none.

    A shingle w₁…wₙ has the value Σ fᵢ·h(wᵢ) mod 2⁶⁴, with h the first 8 bytes of BLAKE2b and fᵢ fixed odd
    factors.

    Raises:
        MissingExtraError: without numpy.
    """
    rest = iter(texts)
    while batch := list(itertools.islice(rest, _BATCH)):
        yield from _shingles([fold(text) for text in batch])


def _shingles(texts: Sequence[list[str]]) -> list[NDArray[np.uint64]]:
    np = _numpy()
    flat = list(itertools.chain.from_iterable(texts))
    hashes = np.zeros(len(flat) + _CHARACTERS, np.uint64)  # the last few stand for words that are not there
    hashes[: len(flat)] = np.fromiter(map(_HASHES.__getitem__, flat), np.uint64, len(flat))
    by_words, by_characters = _rolled(hashes, _WORDS), _rolled(hashes, _CHARACTERS)
    found = []
    end = 0
    for words in texts:
        start, end = end, end + len(words)
        runs = by_words[start : max(start, end - _WORDS + 1)]
        # The scripts without spaces begin at this sign: most texts are told by one comparison.
        if words and max(words) >= "\u0e00":
            is_unspaced = np.fromiter((_UNSPACED.match(word) is not None for word in words), bool, len(words))
            runs = runs[~is_unspaced[: len(runs)]]
            characters = by_characters[start : max(start, end - _CHARACTERS + 1)]
            runs = np.concatenate([runs, characters[is_unspaced[: len(characters)]]])
        if words and not len(runs):
            padded = np.zeros(_CHARACTERS, np.uint64)
            padded[: len(words)] = hashes[start:end]
            runs = _rolled(padded, _CHARACTERS)
        found.append(runs)
    return found


def _rolled(hashes: NDArray[np.uint64], size: int) -> NDArray[np.uint64]:
    """The values of all runs of `size` words; (n,) -> (n - size + 1,)."""
    np = _numpy()
    count = len(hashes) - size + 1
    total = hashes[:count] * np.uint64(_FACTORS[0])
    for place in range(1, size):
        total += hashes[place : place + count] * np.uint64(_FACTORS[place])
    return total


@dataclass(frozen=True)
class Banding:
    """Signatures cut into bands: two texts are compared when they agree on all of one band.

    Args:
        bands: how many.
        rows: permutations in each.
    """

    bands: int
    rows: int

    @classmethod
    def of(cls, threshold: float, permutations: int = 128) -> Banding:
        """The bands for a Jaccard similarity, chosen as datasketch's `MinHashLSH` chooses them.

        It weighs pairs compared in vain against pairs missed, evenly unless told otherwise, and then misses
        60 % of the pairs at a threshold of 0.8. Here every compared pair is checked, so the weights are 0.02
        and 0.98: at 0.8 and 128 permutations 17 bands of 7, which miss 1.8 % at 0.8 and 0.1 % at 0.85.

        Args:
            threshold: above 0, at most 1; at 1 the one band is the whole signature.
            permutations: length of a signature, at least 2.

        Raises:
            ConfigError: for other values.
            MissingExtraError: without datasketch.
        """
        if not 0 < threshold <= 1:
            raise ConfigError(
                f"Expected a similarity above 0 and at most 1 as threshold, found {threshold}; try 0.8."
            )
        if permutations < 2:
            raise ConfigError(
                f"Expected at least 2 permutations in a signature, found {permutations}; try 128."
            )
        return _banding(float(threshold), int(permutations))

    def miss_probability(self, similarity: float) -> float:
        """The probability (1 − sʳ)ᵇ that two texts of Jaccard similarity s are never compared."""
        return float((1 - similarity**self.rows) ** self.bands)


@functools.lru_cache(maxsize=64)
def _banding(threshold: float, permutations: int) -> Banding:
    if threshold == 1:
        return Banding(1, permutations)
    datasketch = _datasketch()
    try:
        index = datasketch.MinHashLSH(threshold=threshold, num_perm=permutations, weights=_WEIGHTS)
    except ValueError:  # one band would be best, which datasketch does not allow
        return Banding(1, permutations)
    return Banding(index.b, index.r)


class Sketcher:
    """Makes the MinHash signatures of texts.

    The share of places in which two signatures agree estimates the Jaccard similarity s of the two sets of
    shingles, with a standard error of √(s(1 − s)/permutations): 0.035 at 0.8 with 128.

    Args:
        threshold: the similarity from which texts will count as near-duplicates; it chooses `banding` only,
            the signatures do not depend on it.
        permutations: length of a signature.
        seed: of the permutations; signatures of different seeds do not compare. 0 … 2³² − 1.

    Raises:
        ConfigError: for values out of range.
        MissingExtraError: without datasketch or numpy (extra `corpus`).
    """

    def __init__(self, threshold: float = 0.8, permutations: int = 128, seed: int = 0) -> None:
        self.banding = Banding.of(threshold, permutations)
        if not 0 <= seed < 1 << 32:
            raise ConfigError(f"Expected a seed from 0 to 2**32 - 1, found {seed}; choose another.")
        self.threshold = float(threshold)
        self.permutations = int(permutations)
        self.seed = int(seed)
        self._factors, self._offsets = _permutations(self.permutations, self.seed)

    def sketch(self, text: str) -> NDArray[np.uint32]:
        """The signature of one text; (permutations,). That of an empty text is all ones."""
        return self.sketch_many([text])[0]

    def sketch_many(self, texts: Iterable[str]) -> NDArray[np.uint32]:
        """The signatures of texts, which are read once; (n, permutations)."""
        np = _numpy()
        room = np.empty((_ROWS, self.permutations), np.uint32)
        blocks = []
        rest = iter(texts)
        while batch := list(itertools.islice(rest, _BATCH)):
            block = np.full((len(batch), self.permutations), 0xFFFFFFFF, np.uint32)
            for values, signature in zip(shingles(batch), block, strict=True):
                self._permute(_mixed(values), signature, room)
            blocks.append(block)
        return np.concatenate(blocks) if blocks else np.empty((0, self.permutations), np.uint32)

    def _permute(self, values: NDArray[Any], signature: NDArray[Any], room: NDArray[Any]) -> None:
        """Lower `signature` to the least value of each permutation (a·h + b mod 2³²) of `values`."""
        np = _numpy()
        for start in range(0, len(values), len(room)):
            part = values[start : start + len(room)]
            permuted = room[: len(part)]
            np.multiply(part[:, None], self._factors, out=permuted)
            permuted += self._offsets
            np.minimum(signature, np.minimum.reduce(permuted, axis=0), out=signature)


def _permutations(count: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The factors a, which are odd, and the offsets b; drawn here so that no release of datasketch changes them."""
    np = _numpy()
    stream = np.random.RandomState(seed)
    factors = stream.randint(0, 1 << 31, count, np.uint32) * np.uint32(2) + np.uint32(1)
    return factors, stream.randint(0, 1 << 32, count, np.uint32)


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """The upper halves of shingle values, mixed as datasketch's scheme does (MurmurHash3's finalizer)."""
    np = _numpy()
    mixed: NDArray[np.uint32] = (values >> np.uint64(32)).astype(np.uint32)
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed ^= mixed >> np.uint32(shift)
        mixed *= np.uint32(factor)
    return mixed


def _numpy() -> Any:
    try:
        import numpy
    except ImportError:
        raise MissingExtraError("numpy", "corpus") from None
    return numpy


def _datasketch() -> Any:
    try:
        import datasketch
    except ImportError:
        raise MissingExtraError("datasketch", "corpus") from None
    return datasketch
