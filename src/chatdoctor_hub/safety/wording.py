"""`find_safety_wording`: is a system text, or part of it, a safety prompt? Rules over strings, no model."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from chatdoctor_hub.safety.wording_rules import DIGESTS, DISABLING, RULES, SIMPLIFIED

__all__ = ["find_safety_wording"]

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_ENDS = re.compile(r"(?<!:)\s*\n\s*|\.(?=\s|$)|[!?;。…]+")
_SIGNS = re.compile(r"[\W_]+")
_HAN = re.compile(r"[\u3400-\u9fff]")
_BETWEEN_HAN = re.compile(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")
_WORDS, _CHARACTERS = 5, 8  # from which a sentence of a known text counts


def find_safety_wording(text: str, known: Sequence[str] = ()) -> str | None:
    """Why a system text counts as a safety prompt, or None when it does not.

    Tuning under a safety prompt is what PTST warns of (arXiv 2402.18540, section 3). A text counts when it

    - holds one of `known`, or at least half of its sentences (two or more);
    - holds a sentence of a default system prompt that was published for safety (kept as digests); or
    - has a sentence that asks to refuse harmful requests, for answers that are safe or not harmful, to follow rules
      of safety, or puts safety first.

    Letter case, white space, punctuation, Markdown marks and invisible characters do not matter. What is medical
    ("warn of dangerous side effects", "call an ambulance for chest pain"), about honesty ("do not make things up"),
    form or scope is no safety wording. The rules know English and Chinese; in other languages only `known`
    and the digests are found. `wording_rules` holds the lists.

    Args:
        text: the system text.
        known: safety prompts to look for, whatever their language.

    Returns:
        The reason, to be read after "found that it …"; never words of the text.
    """
    sentences = list(_sentences(text))
    if known:
        whole = " ".join(sentences)
        for item in known:
            if reason := _holds(whole, item):
                return reason
    for sentence in sentences:
        if _digest(sentence) in DIGESTS:
            return "holds words of a published safety prompt"
        if DISABLING.search(sentence):
            continue
        plain = _BETWEEN_HAN.sub("", sentence) if _HAN.search(sentence) else sentence
        for reason, pattern in RULES:
            if pattern.search(plain):
                return reason
    return None


def _holds(whole: str, known: str) -> str | None:
    sentences = _known_sentences(known)
    if not sentences:
        return None
    padded = f" {whole} "
    if f" {' '.join(sentences)} " in padded:
        return "holds a known safety prompt"
    long = [sentence for sentence in sentences if _is_long(sentence)]
    found = sum(f" {sentence} " in padded for sentence in long)
    return "holds most of a known safety prompt" if found >= 2 and 2 * found >= len(long) else None


@lru_cache(maxsize=256)
def _known_sentences(text: str) -> tuple[str, ...]:
    return tuple(_sentences(text))


def _is_long(sentence: str) -> bool:
    return len(_HAN.findall(sentence)) >= _CHARACTERS or len(sentence.split()) >= _WORDS


def _sentences(text: str) -> Iterator[str]:
    """The sentences, each in lower-case words between single spaces."""
    plain = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).lower().translate(SIMPLIFIED)
    for sentence in _ENDS.split(plain):
        words = _SIGNS.sub(" ", sentence).strip()
        if words:
            yield words


def _digest(sentence: str) -> str:
    return hashlib.sha256(sentence.encode("utf-8", "surrogatepass")).hexdigest()[:16]
