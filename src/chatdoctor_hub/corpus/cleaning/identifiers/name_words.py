"""Whether a word can be a name, and where a name that starts here ends. The word lists are in `data/`."""

from __future__ import annotations

import re
from functools import lru_cache
from importlib import resources

__all__ = ["LETTER", "is_given_name", "is_ordinary", "read_name", "read_words"]

LETTER = "A-Za-zÀ-ÖØ-öø-ɏ"
"""Letters of names in Latin script, for use inside the brackets of a pattern."""

# Initials ("A.", "A.K."), or a word with its hyphens and apostrophes ("O'Brien", "Smith-Jones").
_TOKEN = re.compile(rf"(?:[{LETTER}]\.){{1,4}}(?![{LETTER}]{{1,3}}\.)|[{LETTER}]+(?:['-][{LETTER}]+)*")
_PARTICLE = re.compile(
    r"(?:van der|van den|van|von|de la|de los|del|de|da|dos|bin|ibn|al|el|di|le|ter|ten) (?=[A-Z])"
)
_POSSESSIVE = re.compile(r"'[sS]$")
# "I've", "It's", "Ma'am" are no names, "O'Brien", "D'souza" are.
_NO_NAME = re.compile(r"[^']{2,}'(?:[a-z]|S$)|[^']'[a-z]{1,2}$")
# Surnames that open sentences too often to be taken for one after another name ("Dr. Rao May I …").
_OPENERS = frozenset(
    {"best", "case", "day", "hope", "hurt", "joy", "little", "long", "love", "march", "may", "short", "strong", "week",
     "weeks", "will", "winter", "april", "june", "mark", "marks", "cross", "hand"}
)  # fmt: skip
_BRANDS = frozenset({"scholl", "pepper", "martens", "bronner", "google", "seuss", "oetker"})
_DEGREE = re.compile(
    r"(?:MD|MBBS|MS|DM|DNB|FRCS|MRCP|FRCP|PhD|DO|RN|NP|PA|BDS|MDS|DCH|DGO|MCh|BAMS|BHMS|DPM|DDS|Jr|Sr)\b"
)
# Only where one of these stands next can a word that is also an ordinary one be told for a name.
_AFTER_A_NAME = re.compile(
    r"'s\b|\s{0,9}(?:[,.;:!?)\n-]|$)| {1,2}(?:said|says|told|tells|asked|asks|prescribed|advised|suggested|recommended|"
    r"gave|gives|has|had|is|was|will|would|can|could|should|did|does|thinks|thought|and|or|who|that|at|in|from|for|"
    r"on|to|with|by|as|about|after|before|since|during|when|while|because|but|if|so|then|also|again|last|yesterday|"
    r"today|this|every|once|twice|never|always|just|here|put|saw|sees|ordered|explained|changed|checked|diagnosed|"
    r"referred|wants|wanted|examined|operated|performed|started|increased|reduced|stopped|called|sent|found|"
    r"removed|knows|agreed|refused|my)\b"
)
_LONGEST = 5


@lru_cache(maxsize=8)
def read_words(name: str) -> frozenset[str]:
    """A word list of `data/`, without its comments."""
    lines = (
        resources.files(__package__).joinpath("data").joinpath(f"{name}.txt").read_text("utf-8").splitlines()
    )
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def is_given_name(word: str) -> bool:
    """Whether it is in the list of common given names, whatever its case."""
    return word.casefold() in read_words("given_names")


def is_ordinary(word: str) -> bool:
    """Whether it is in the list of words that are not names, or in that of eponyms, whatever its case."""
    folded = word.casefold()
    return folded in read_words("ordinary_words") or folded in read_words("eponyms")


def read_name(text: str, start: int, *, title: bool = False) -> int | None:
    """Where a name ends that starts at `start`; None when none does.

    A name is up to five capitalised words and initials, at least one of them a word of two letters; after a
    title an initial with its full stop will do. It ends before the first ordinary word.

    Args:
        text: a `View`'s.
        start: of its first letter.
        title: whether a title stands before it, which makes words such as "Rose" or "White" names.
    """
    end: int | None = None
    place, words = start, 0
    for _ in range(_LONGEST):
        particle = _PARTICLE.match(text, place)
        token = _TOKEN.match(text, particle.end() if particle else place)
        if token is None or not token.group()[0].isupper():
            break
        word = _POSSESSIVE.sub("", token.group())
        stop = token.start() + len(word)
        if word.endswith("."):
            if words or title:
                end = stop - 1
            place = stop + (text[stop : stop + 1] == " ")
            continue
        if len(word) > 1:
            if (words and _DEGREE.match(word)) or not _is_name(
                text, word, stop, sure=title or words > 0, after_a_name=words > 0
            ):
                break
            words += 1
            end = stop
        elif word in "AI":
            break
        if token.group() != word or text[stop : stop + 1] != " ":
            break
        place = stop + 1
    return end


def _is_name(text: str, word: str, stop: int, *, sure: bool, after_a_name: bool) -> bool:
    folded = word.casefold()
    if _NO_NAME.match(word) or folded in _BRANDS:
        return False
    eponym = folded in read_words("eponyms")
    if folded not in read_words("ordinary_words") and (sure or not eponym):
        return True
    if not (sure or is_given_name(word)) or (
        folded not in read_words("surnames") and not is_given_name(word)
    ):
        return False
    if _AFTER_A_NAME.match(text, stop) or (after_a_name and folded not in _OPENERS):
        return True
    following = _TOKEN.match(text, stop + 1) if text[stop : stop + 1] == " " else None
    return (
        following is not None
        and len(following.group()) > 1
        and following.group()[0].isupper()
        and (not is_ordinary(following.group()) or following.group().casefold() in read_words("surnames"))
    )
