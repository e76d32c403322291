r"""What is done to the text of a disease table, and nothing else.

ChatDoctor's table was written with Python's `repr` and scraped from web pages. In order:

1. bytes written as escapes (`\xe2\x80\x93`) become the UTF-8 text they spell; cut-off ones go;
2. escaped white space (`\n`, `\t`, `\r`) becomes a space, and any other backslash goes (`Rotator\'s`);
3. control characters, halves of surrogate pairs, and marks that turn the direction of writing go;
4. every run of white space becomes one space, and none is left at either end.

Cleaning clean text changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["clean_cause", "clean_list", "clean_text", "has_hidden"]

_BYTES = re.compile(r"(?:\\x[0-9a-fA-F]{2})+")
_WHITE_SPACE_ESCAPE = re.compile(r"\\[nrt]")
_NOT_TEXT = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u2069]"
)
_TITLE_CASED_S = re.compile(r"(?<=[a-z]')S\b")
_CROSS_REFERENCE = re.compile(r"^[^.]{1,60} (?:may|can) refer to:$")


def clean_text(text: str) -> str:
    """The text after the four steps above."""
    text = _BYTES.sub(_decode, text)
    text = _WHITE_SPACE_ESCAPE.sub(" ", text).replace("\\", "")
    return " ".join(_NOT_TEXT.sub("", text).split())


def has_hidden(text: str) -> bool:
    """Whether the text has characters of the third step."""
    return bool(_NOT_TEXT.search(text))


def clean_list(items: Iterable[str]) -> tuple[str, ...]:
    """Each item cleaned; `Devil'S Claw` gets its small s back; empty and repeated items are left out."""
    cleaned: dict[str, str] = {}
    for item in items:
        text = _TITLE_CASED_S.sub("s", clean_text(item))
        if text:
            cleaned.setdefault(text.casefold(), text)
    return tuple(cleaned.values())


def clean_cause(text: str) -> str:
    """A cause without the commas at its end, or "" where the cell holds none.

    In 115 rows of ChatDoctor's table the cell holds a drug from the next column instead ("thiamine,"):
    known by the comma at the end, a small letter at the start and no sentence between. In ten it is
    the head of a list that was never scraped ("BPH may refer to:").
    """
    cleaned = clean_text(text)
    bare = cleaned.rstrip(" ,")
    is_fragment = bare != cleaned and not bare[:1].isupper() and ". " not in bare
    return "" if is_fragment or _CROSS_REFERENCE.match(bare) else bare


def _decode(match: re.Match[str]) -> str:
    return bytes.fromhex(match[0].replace("\\x", "")).decode("utf-8", "ignore")
