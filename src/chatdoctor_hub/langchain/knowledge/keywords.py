"""Search terms: reading them from a model's answer, however it is written, and finding them without a model."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from chatdoctor_hub.knowledge.searching.words import stems

__all__ = ["lexical_keywords", "parse_keywords"]

_LONGEST = 60  # characters of a search term; what is longer is a sentence
_MOST_WORDS = 6
_READ = 4_000  # characters of an answer that are looked at
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL | re.IGNORECASE)
_CODE = re.compile(r"^\s*```\w*\s*$", re.MULTILINE)
_LIST = re.compile(r"\[[^\[\]]*\]", re.DOTALL)
_LABEL = re.compile(
    r"^[^\n:,;]{0,40}\b(?:keywords?|key words?|search terms?|terms?)\b[^\n:,;]{0,40}:", re.IGNORECASE
)
_BULLET = re.compile(r"^\s*(?:[-*+•–—]|\(?\d{1,2}[.):])\s*")
_SPLIT = re.compile(r"[,;、，；|\n]|\s/\s")
_QUOTES = "\"'`“”‘’«»*_ \t.:()[]{}<>"
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


def parse_keywords(answer: str, most: int = 12) -> tuple[str, ...]:
    """The search terms in a model's answer: a JSON list, lines with bullets or numbers, or words with commas.

    Args:
        answer: as the model wrote it; thoughts, code fences and a label such as "Keywords:" are passed over.
        most: how many at most.

    Returns:
        Terms without quotes and outer white space, each once (capitals do not count), in the order of the
        answer; none when it cannot be read. A term is no sentence: it has at most six words, and not only
        small ones.
    """
    text = _CODE.sub("", _THOUGHTS.sub("", answer[:_READ])).strip()
    found = _from_json(text)
    terms = _from_text(text) if found is None else found
    return _distinct((_clean(term) for term in terms), most)


def lexical_keywords(text: str, most: int = 12) -> tuple[str, ...]:
    """The words of a text that carry meaning, each once, in their order."""
    words = (found[0].lower() for found in _WORD.finditer(text))
    by_stem: dict[tuple[str, ...], str] = {}
    for word in words:
        if stem := tuple(stems(word)):
            by_stem.setdefault(stem, word)
        if len(by_stem) == most:
            break
    return tuple(by_stem.values())


def _from_json(text: str) -> list[str] | None:
    """The texts of the first JSON list, or None; a mapping may hold it."""
    found = _LIST.search(text)
    if found is None:
        return None
    try:
        return list(_texts(json.loads(found[0])))
    except (ValueError, RecursionError):
        # Not JSON, but brackets with words in them: single quotes, no quotes, a comma too many.
        inner = _from_text(found[0][1:-1])
        return inner or None


def _texts(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else ():
        if isinstance(item, str):
            yield item


def _from_text(text: str) -> list[str]:
    pieces: list[str] = []
    for line in text.splitlines():
        line = _LABEL.sub("", _BULLET.sub("", line))
        pieces.extend(_SPLIT.split(line))
    return [_BULLET.sub("", piece) for piece in pieces]


def _clean(term: str) -> str:
    return " ".join(term.split()).strip(_QUOTES)


def _distinct(terms: Iterable[str], most: int) -> tuple[str, ...]:
    kept: dict[str, str] = {}
    for term in terms:
        if len(kept) < most and len(term) <= _LONGEST and len(term.split()) <= _MOST_WORDS and stems(term):
            kept.setdefault(term.casefold(), term)
    return tuple(kept.values())
