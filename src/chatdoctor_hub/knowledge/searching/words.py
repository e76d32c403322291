"""From a text to the stems that a search compares: stop words, light stemming, words that count as one.

Written for short English texts about symptoms. Both sides of a search go through `stems`, so a stem need not
be a word.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from chatdoctor_hub.knowledge.searching.lexicon import read_lexicon

__all__ = ["plain", "stems", "stems_of"]

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# "hepatitis A" is hepatitis, and a word of its own besides: single letters are no words here.
_KIND = re.compile(r"\b(hepatitis|influenza|type|vitamin)[ -]([a-e]|\d)\b")

# (ending, what takes its place, letters that must be left), the first that fits.
_ENDINGS = (
    ("iness", "y", 3),
    ("ness", "", 3),
    ("ingly", "", 3),
    ("edly", "", 3),
    ("fully", "", 4),
    ("ful", "", 4),
    ("ings", "", 3),
    ("ing", "", 3),
    ("ied", "y", 2),
    ("ies", "y", 2),
    ("eed", "eed", 1),
    ("ed", "", 3),
    ("sses", "ss", 2),
    ("ees", "ee", 1),
    ("es", "", 3),
    ("ss", "ss", 1),
    ("us", "us", 1),
    ("is", "is", 1),
    ("s", "", 3),
    ("ency", "ent", 3),
    ("ancy", "ant", 3),
    ("ly", "", 4),
    ("ous", "", 4),
    ("ive", "", 5),
)
_ENDINGS_BY_LETTER = {
    letter: tuple(ending for ending in _ENDINGS if ending[0][-1] == letter)
    for letter in {ending[0][-1] for ending in _ENDINGS}
}
_VOWEL = re.compile("[aeiouy]")


def stems(text: str) -> list[str]:
    """The stems of the words that carry meaning, in the order of the text, repetitions kept."""
    return stems_of(plain(text))


def plain(text: str) -> str:
    """Small letters without accents, one kind of apostrophe, and a word for each kind of hepatitis."""
    text = text.casefold().replace("\u2019", "'")
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", text)
        text = "".join(letter for letter in decomposed if not unicodedata.combining(letter))
    return _KIND.sub(r"\1 \1\2", text)


def stems_of(plain_text: str) -> list[str]:
    """The stems of a text that `plain` has been through."""
    small = read_lexicon().small_words
    found = (word for word in _WORD.findall(plain_text) if word not in small)
    return [stem for word in found if len(stem := _canonical(word.removesuffix("'s"))) > 1]


@lru_cache(maxsize=20_000)
def _canonical(word: str) -> str:
    return _stem(read_lexicon().same.get(word, word))


def _stem(word: str) -> str:
    """The word without its inflection and common endings; British spellings become American."""
    if len(word) > 4:
        word = word.replace("ae", "e").replace("oe", "e").replace("our", "or")
    for ending, instead, left in _ENDINGS_BY_LETTER.get(word[-1], ()):
        if word.endswith(ending):
            rest = word[: -len(ending)]
            if len(rest) >= left and _VOWEL.search(rest + instead):
                word = rest + instead
                break
    if word.endswith(("sion", "tion")) and len(word) > 6:
        word = word[:-3]
    if len(word) > 4 and word[-1] in "ye" and not word.endswith("ee"):
        word = word[:-1]
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word
