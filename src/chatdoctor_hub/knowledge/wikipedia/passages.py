"""Cutting the text of a page into passages, and ranking them for a question.

A passage ends where a paragraph ends, or a sentence where a paragraph is too long; it never reaches over
the border of a section. Ranking is Okapi BM25 (Robertson and Zaragoza, The Probabilistic Relevance
Framework, 2009, section 3.2) on the stems of `words`, over the passages that are ranked together; runs of
Chinese, Japanese or Thai letters, which have no spaces, count by their pairs of letters.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from chatdoctor_hub.knowledge.searching.words import stems

__all__ = ["bm25", "clean_prose", "cut_passages", "sections_of", "sentences_of"]

_K1 = 1.2
_B = 0.75

# Control characters, halves of surrogate pairs, soft hyphens, zero-width spaces and marks of direction.
_NOT_TEXT = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
# Repetitions are bounded everywhere: what a server sends may be made to keep a pattern busy for hours.
_HEADING = re.compile(r"^ {0,9}(={2,6}) {0,9}([^\s=].{0,250}?) {0,9}\1 {0,9}$", re.MULTILINE)

_UNSPACED = "\u0e00-\u0e7f\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
_LETTERS_A_WORD = 2  # of those, on average
_LONGEST_WORD = 25  # letters of any other language

_SENTENCE_END = re.compile(
    r"(?<![.!?…؟।])[.!?…؟।]+[\"')\]”’»]{0,4} {1,9}|(?<![。！？])[。！？]+[』」”’）]{0,4} {0,9}"
)
_UNSPACED_END = re.compile(r"[。！？][』」”’）]{0,4}$")
_STARTS_SMALL = re.compile(r"[\"'(\[“‘«]*[a-z]")
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\[])(?:[A-Za-z]|(?:[a-z]\.)+[a-z]|al|approx|ca|cf|dr|drs|ed|fig|figs|gen|inc|jr|mr|mrs|ms|no|nos|"
    r"pp|prof|rev|sp|spp|sr|st|subsp|var|viz|vol|vs)\.$",
    re.IGNORECASE,
)


def clean_prose(text: str) -> str:
    r"""The text without control characters and marks of direction; line ends become `\n`."""
    return _NOT_TEXT.sub("", _LINE_END.sub("\n", text)).replace("\t", " ").strip()


def sections_of(extract: str) -> list[tuple[str, str]]:
    """The sections of a page's plain text, in order: (path, text), those without text left out.

    Args:
        extract: with headings between equals signs, `== Treatment ==`, as MediaWiki's TextExtracts gives it.

    Returns:
        The path names the headings from the outermost on, "Treatment > Medication"; it is "" for what
        stands before the first of them.
    """
    found: list[tuple[str, str]] = []
    open_headings: list[tuple[int, str]] = []
    start = 0
    for heading in _HEADING.finditer(extract):
        found.append((_path(open_headings), extract[start : heading.start()].strip()))
        level = len(heading[1])
        open_headings = [item for item in open_headings if item[0] < level]
        open_headings.append((level, heading[2]))
        start = heading.end()
    found.append((_path(open_headings), extract[start:].strip()))
    return [(path, text) for path, text in found if text]


def _path(headings: Sequence[tuple[int, str]]) -> str:
    return " > ".join(title for _, title in headings)


def sentences_of(paragraph: str) -> list[str]:
    """The sentences of a paragraph; where it is not sure that one ends, it goes on."""
    found = []
    start = 0
    for end in _SENTENCE_END.finditer(paragraph):
        word = paragraph[max(start, end.start() - 12) : end.end()]
        if word[-1] == " " and (
            _STARTS_SMALL.match(paragraph, end.end()) or _ABBREVIATION.search(word.rstrip())
        ):
            continue
        found.append(paragraph[start : end.end()].strip())
        start = end.end()
    found.append(paragraph[start:].strip())
    return [sentence for sentence in found if sentence]


def cut_passages(text: str, words: tuple[int, int] = (120, 250)) -> list[str]:
    """The text of one section in passages, in order; nothing is lost but white space.

    Args:
        text: paragraphs, a line each.
        words: about how many a passage has, at least and at most. The last one may be shorter; a sentence
            longer than that is a passage of its own, unless it is too long to be prose at all.
    """
    least, most = words
    passages: list[list[list[str]]] = []  # paragraphs of sentences
    count = 0
    for paragraph in (line.strip() for line in text.split("\n")):
        sentences = [part for sentence in sentences_of(paragraph) for part in _bounded(sentence, 2 * most)]
        length = sum(map(_count, sentences))
        # A long paragraph is shared out evenly, so that no crumb of it is left.
        room = most if length <= most else math.ceil(length / math.ceil(length / most)) + least // 4
        is_new = True
        for sentence in sentences:
            size = _count(sentence)
            if not passages or count + size > min(room, most) or (is_new and count >= least):
                passages.append([])
                count, is_new = 0, True
            if is_new:
                passages[-1].append([])
                is_new = False
            passages[-1][-1].append(sentence)
            count += size
    if len(passages) > 1 and count < least and _size(passages[-2]) + count <= most:
        last = passages.pop()
        passages[-1] += last
    return ["\n".join(map(_joined, passage)) for passage in passages]


def _joined(sentences: Sequence[str]) -> str:
    ends = [*(" " if not _UNSPACED_END.search(sentence[-5:]) else "" for sentence in sentences[:-1]), ""]
    return "".join(sentence + end for sentence, end in zip(sentences, ends, strict=True))


def _bounded(sentence: str, most: int) -> Iterator[str]:
    """The sentence, or pieces of what is no sentence at all."""
    if _count(sentence) <= most:
        yield sentence
        return
    words = [part for word in sentence.split() for part in _halved(word, most * _LETTERS_A_WORD)]
    piece: list[str] = []
    count = 0
    for word in words:
        size = _count(word)
        if piece and count + size > most:
            yield " ".join(piece)
            piece, count = [], 0
        piece.append(word)
        count += size
    yield " ".join(piece)


def _halved(word: str, most: int) -> list[str]:
    return [word[start : start + most] for start in range(0, len(word), most)]


def _size(passage: Sequence[Sequence[str]]) -> int:
    return sum(_count(sentence) for sentences in passage for sentence in sentences)


def _count(text: str) -> int:
    """Words; two letters of a language without spaces count as one, and 25 of any other."""
    letters = sum(map(len, _UNSPACED_RUN.findall(text)))
    words = _UNSPACED_RUN.sub(" ", text).split() if letters else text.split()
    return sum(1 + len(word) // _LONGEST_WORD for word in words) + math.ceil(letters / _LETTERS_A_WORD)


def bm25(query: str, passages: Sequence[tuple[str, str]]) -> list[float]:
    """A score for each passage, in their order: 0 where it shares no word with the query, else above 0.

    Args:
        query: key words or a question.
        passages: (heading, text); the words of the heading count as words of the text.
    """
    asked = set(_terms(query))
    counts = [Counter(_terms(f"{heading}\n{text}")) for heading, text in passages]
    lengths = [sum(count.values()) for count in counts]
    mean = sum(lengths) / len(lengths) if any(lengths) else 1.0
    scores = [0.0] * len(counts)
    for term in sorted(asked):
        holders = sum(term in count for count in counts)
        rarity = math.log(1 + (len(counts) - holders + 0.5) / (holders + 0.5))
        for at, count in enumerate(counts):
            if frequency := count[term]:
                norm = _K1 * (1 - _B + _B * lengths[at] / mean)
                scores[at] += rarity * frequency * (_K1 + 1) / (frequency + norm)
    return scores


def _terms(text: str) -> list[str]:
    pairs = [run[at : at + 2] for run in _UNSPACED_RUN.findall(text) for at in range(max(1, len(run) - 1))]
    return stems(_UNSPACED_RUN.sub(" ", text)) + pairs
