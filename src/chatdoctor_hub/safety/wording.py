"""`find_safety_wording`: is a system text a safety prompt, or does it hold one? Rules over strings, no model."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from chatdoctor_hub.safety.wording_chinese import CHINESE, CHINESE_CUES, CHINESE_SPARED, SIMPLIFIED
from chatdoctor_hub.safety.wording_rules import CUES, ENGLISH, SPARED

__all__ = ["find_safety_wording"]

_WORDS = 5  # of which a sentence has at least as many, to say something of its own
_CHARACTERS = 8  # the same, of a Chinese one
_UNBOUNDED = 20  # characters from which a known text is found in the middle of a word too
_LEAD = 160  # characters kept of what stands in front of a list
_ITEMS = 30  # of a list that are read together with what stands in front of it

_INVISIBLE = re.compile(r"[\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
_QUOTES = str.maketrans("\u2018\u2019\u02bc\u00b4`\u2032\u201c\u201d\u201e\u00ab\u00bb", "''''''\"\"\"\"\"")
_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")
_ENGLISH_WORD = re.compile(r"[a-z]+")
_HAS_HAN = re.compile(rf"[{_HAN}]")
_MARKS = re.compile(r"[*#>~|_\"]+")
_ITEM = re.compile(r"\s*(?:[-*+\u2022\u00b7]|\d{1,3}[.)\u3001]|[a-z][.)]|\([a-z\d]{1,2}\))\s+")
_END = re.compile(r"(?<=[.!?])\s+|(?<=\u3002)\s*(?=\S)|(?<=[!?;])(?=\S)")
_PERSONA = re.compile(r" ?you are an? (?:\w+ ){0,6}(?:assistant|ai|chatbot|model|bot|doctor) ?")

# sha256 (the first 16 digits) of the sentences, without punctuation, of default safety prompts that others
# publish: Llama 2's (Touvron et al., arXiv 2307.09288), Mistral's, DeepSeek Coder's, and the self-reminder of
# Xie et al. (Nature Machine Intelligence 5, 2023). Not those that say no more than who the assistant is.
_PUBLISHED = frozenset(
    {
        "81778d5cb1bee50f",
        "f4bbdb86037faee0",
        "fe6d54e4c656f8c4",
        "fd1b9956dca1e7a3",
        "15be8663fbc53954",
        "ef206900777bcafc",
        "a59b653323b25bb4",
        "034e7fe8fe20aab1",
        "a7a9d82e6216184c",
        "f735a3a9e84cd53a",
        "7749752ed9c2a7ee",
        "ba548f0319810ca9",
        "38c2a43783b661bf",
        "f462a89b0eecf2a6",
        "70af7d87c0c6e9dc",
        "331dd9d8d90e9877",
        "fa4d8f2871688bf8",
        "39b92c642d6938c5",
        "c8cfd64f0841e6c2",
    }
)


def find_safety_wording(text: str, known: Sequence[str] = ()) -> str | None:
    """Why a system text is, or holds, a safety prompt; None when it does not.

    PTST (arXiv 2402.18540, section 3) tunes without a safety prompt and adds it when the model is served; this
    is how a data set is proven to be without one. Three ways, in this order, none of which sees case, white
    space, punctuation, Markdown marks, invisible characters or the form of quotation marks:

    - a known text stands in it whole, or at least half of that text's sentences do (of those with 5 words or
      8 Chinese characters, leaving out who the assistant is);
    - one sentence is of a published default safety prompt (kept as digests);
    - one sentence asks to refuse harmful requests, to keep harmful content out of answers, to answer safely,
      to put safety first or to follow safety rules. `wording_rules` and `wording_chinese` hold the lists, which are
      this project's own.

    What medicine says of harm is no safety wording (dangerous side effects, drug safety, poisons, self-harm in
    the history), nor are honesty ("do not make up facts"), the way to the emergency services, a task about
    safety ("write safety guidelines") and words that switch safety off.

    It knows English and Chinese (simplified, and traditional in the main) and no other language. It reads
    sentences one by one: what is said by allusion, over several sentences or in an unusual way is missed, and
    a task or a role can be worded so that it is taken for a safety prompt.

    Args:
        text: the system text.
        known: safety prompts to look for; empty ones are left out.

    Returns:
        a few words to read after "found that the text …", never words of the text.
    """
    plain = _plain(text)
    bare = _bare(plain)
    texts = [_known(prompt) for prompt in known]
    if any(whole and whole in bare for whole, _ in texts):
        return "holds a known safety prompt"
    if any(_half(bare, sentences) for _, sentences in texts):
        return "holds most of a known safety prompt"
    seen: set[str] = set()
    for sentence in _sentences(plain):
        if sentence not in seen:
            seen.add(sentence)
            reason = _judged(sentence)
            if reason:
                return reason
    return None


def _judged(sentence: str) -> str | None:
    if _digest(sentence) in _PUBLISHED:
        return "holds a sentence of a published safety prompt"
    if not CUES.isdisjoint(_ENGLISH_WORD.findall(sentence)) and not SPARED.search(sentence):
        for pattern, reason in ENGLISH:
            if pattern.search(sentence):
                return reason
    if not _HAS_HAN.search(sentence):
        return None
    chinese = sentence.translate(SIMPLIFIED).replace(" ", "")
    if CHINESE_CUES.search(chinese) and not CHINESE_SPARED.search(chinese):
        for pattern, reason in CHINESE:
            if pattern.search(chinese):
                return reason
    return None


def _digest(sentence: str) -> str:
    return hashlib.sha256(_bare(sentence).strip().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _half(bare: str, sentences: Sequence[str]) -> bool:
    return bool(sentences) and 2 * sum(sentence in bare for sentence in sentences) >= len(sentences)


@lru_cache(256)
def _known(prompt: str) -> tuple[str, tuple[str, ...]]:
    """A known text without punctuation, and those of its sentences that say something of their own."""
    plain = _plain(prompt)
    bare = _bare(plain)
    whole = bare.strip() if len(bare) > _UNBOUNDED else bare
    if not whole.strip():
        return "", ()
    parts = dict.fromkeys(_bare(sentence) for sentence in _sentences(plain))
    long = [part for part in parts if _says_much(part)]
    return whole, tuple([part for part in long if not _PERSONA.fullmatch(part)] or long)


def _says_much(bare: str) -> bool:
    return len(bare.split()) >= (_CHARACTERS if _HAS_HAN.search(bare) else _WORDS)


def _plain(text: str) -> str:
    """In lower case, with full-width forms, quotation marks and apostrophes made plain."""
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).translate(_QUOTES).lower()


def _bare(plain: str) -> str:
    """Words and Chinese characters, one space around each: what is left when punctuation does not count."""
    return f" {' '.join(_TOKEN.findall(plain.replace(chr(39), '')))} "


def _sentences(plain: str) -> Iterator[str]:
    """Sentences; a list's items come with the words in front of the list, line breaks within one are joined."""
    lead, items = "", 0
    for block in _blocks(plain):
        item = _ITEM.match(block)
        words = " ".join(_MARKS.sub("", block[item.end() if item else 0 :]).split())
        if not item:
            lead, items = "", 0
        for sentence in _END.split(words):
            if item and lead and items < _ITEMS:
                items += 1
                yield f"{lead}: {sentence}"
            elif sentence:
                yield sentence
        if words.endswith(":") and not item:
            lead = _END.split(words)[-1][-_LEAD:].rstrip(":")


def _blocks(plain: str) -> Iterator[str]:
    """Lines, joined where one runs on into the next."""
    held: list[str] = []
    for line in plain.splitlines():
        ends = held and (held[-1].rstrip()[-1:] in ".!?:;" or _ITEM.match(line) or not line.strip())
        if ends:
            yield " ".join(held)
            held = []
        if line.strip():
            held.append(line)
    if held:
        yield " ".join(held)
