"""The lexicon of `lexicon.txt`, which describes its own layout: how patients speak, and how lists of symptoms do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = ["Lexicon", "read_lexicon"]

_FILE = "lexicon.txt"
_SECTIONS = ("small words", "same", "phrases", "not denied")
_KEY = 3  # letters of a word by which a phrase is found
_WORD = re.compile(r"[\w'-]+\*?\??")


@dataclass(frozen=True)
class Lexicon:
    """What the file says.

    Args:
        small_words: words without meaning for a search.
        same: for a word the one that stands for it.
        phrases: by the first letters of the word a saying begins with: the saying and what it means.
        not_denied: words of which "no" makes a symptom.
    """

    small_words: frozenset[str]
    same: dict[str, str]
    phrases: dict[str, tuple[tuple[str, str], ...]]
    not_denied: frozenset[str]

    def meanings(self, words: list[str]) -> list[str]:
        """What the sayings in a text mean, each once; words in small letters, marks of punctuation among them."""
        text = " ".join(words)
        keys = dict.fromkeys(word[:_KEY] for word in words)
        sayings = (found for key in keys for found in self.phrases.get(key, ()))
        return list(dict.fromkeys(meaning for saying, meaning in sayings if _pattern(saying).search(text)))


@cache
def read_lexicon() -> Lexicon:
    """The lexicon of this package, read once.

    Raises:
        DataNotFoundError: the file is not in the installed package.
        DataFormatError: it was changed and no longer has the layout.
    """
    file = resources.files(__package__).joinpath(_FILE)
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataNotFoundError(
            f"Expected the lexicon at {file}, found that it cannot be read; install chatdoctor-hub again."
        ) from error
    try:
        return _parse(text)
    except (ValueError, KeyError) as error:
        raise DataFormatError(
            f"Expected the lexicon {file} in the layout that it describes, found something else ({error}); "
            "install chatdoctor-hub again."
        ) from error


def _parse(text: str) -> Lexicon:
    sections: dict[str, list[str]] = {name: [] for name in _SECTIONS}
    lines: list[str] = []
    for line in text.splitlines():
        if line.startswith("["):
            lines = sections[line.strip("[]")]
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    phrases: dict[str, list[tuple[str, str]]] = {}
    for line in sections["phrases"]:
        sayings, meaning = line.split(" = ")
        for saying in sayings.split(","):
            for key in _keys(saying.split()[0]):
                phrases.setdefault(key, []).append((saying, meaning))
    return Lexicon(
        small_words=frozenset(" ".join(sections["small words"]).split()),
        same={word: line.split()[0] for line in sections["same"] for word in line.split()},
        phrases={key: tuple(found) for key, found in phrases.items()},
        not_denied=frozenset(" ".join(sections["not denied"]).split()),
    )


@cache
def _pattern(saying: str) -> re.Pattern[str]:
    """A saying as a pattern for a plain text, with one blank between words; made when it is first needed."""
    parts = []
    for number, element in enumerate(saying.split()):
        if element == "..":
            parts.append(r"(?: [\w']+){0,4}?")
            continue
        words = "|".join(_alternatives(element))
        before = " " if number else r"(?<!\S)"
        parts.append(f"(?:{before}(?:{words}))" + ("?" if element.endswith("?") else ""))
    return re.compile("".join(parts) + r"(?!\S)")


def _alternatives(element: str) -> Iterator[str]:
    for word in element.removesuffix("?").split("|"):
        if not _WORD.fullmatch(word):
            raise ValueError(f"a saying with the word {word!r}")
        yield word.removesuffix("*") + (r"[\w']*" if word.endswith("*") else "")


def _keys(element: str) -> set[str]:
    """The first letters of the words that may begin a saying."""
    words = element.split("|")
    if any(word.endswith("*") and len(word) <= _KEY for word in words) or element.endswith("?"):
        raise ValueError(f"a saying that begins with {element!r}")
    return {word.removesuffix("*")[:_KEY] for word in words}
