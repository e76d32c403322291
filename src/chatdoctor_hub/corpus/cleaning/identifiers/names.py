"""Rules for names in Latin script: after titles, in introductions, in greetings, under a text."""

from __future__ import annotations

import re
from collections.abc import Iterator

from chatdoctor_hub.corpus.cleaning.identifiers.name_words import (
    LETTER,
    is_given_name,
    is_ordinary,
    read_name,
)
from chatdoctor_hub.corpus.cleaning.identifiers.view import Rule, Span, View, has_any

__all__ = ["NAME_RULES"]

_NO_LETTER_BEFORE = rf"(?<![{LETTER}0-9])"
# "MS" and "MR" are illnesses and tests unless a full stop and a name in capitals follow; "ms" is a unit.
_TITLE = re.compile(
    _NO_LETTER_BEFORE
    + r"(?:(?:[Dd][Rr]|[Pp]rof|PROF|M[rs]|Mrs)(?:\.\s{0,2}| {1,2})|"
    + r"(?:[Dd]octor|DOCTOR|[Pp]rofessor|Miss|Nurse) {1,2}|"
    + r"(?:M[RS]|MRS)\. {0,2}(?=[A-Z]{2})|m(?:rs?|s)\. {0,2})"
    + r"|(?<=[a-z])Dr\. {0,2}(?=[A-Z])"  # published texts lost their line breaks: "All the bestDr. Rao"
)
_SMALL = re.compile(rf"[{LETTER}]{{2,}}(?![{LETTER}'])")


def _titled(view: View) -> Iterator[Span]:
    text = view.text
    for title in _TITLE.finditer(text):
        end = read_name(text, title.end(), title=True)
        if end is None:
            small = _SMALL.match(text, title.end())
            if (
                small
                and small.group().islower()
                and is_given_name(small.group())
                and not is_ordinary(small.group())
            ):
                end = small.end()
        if end is not None:
            yield title.end(), end


_SAYS_THE_NAME = re.compile(
    _NO_LETTER_BEFORE
    + r"(?:(?:my|his|her|(?:my |the )?(?:wife|husband|son|daughter|mother|father|mom|mum|dad|child|baby|brother|"
    r"sister|boy|girl|friend|patient|doctor)(?:'?s)?) (?:first |last |full |good )?name(?: is|'s|:| -)|"
    r"patient(?:'?s)? name|(?<=\n)name|^name)[ \t]{0,9}[:=-]?[ \t]{0,9}",
    re.IGNORECASE,
)
_I_AM = re.compile(_NO_LETTER_BEFORE + r"(?:I am|I'm|i am|i'm|I m|Im) ")
_OPENING = r"(?:^|[\n.!,]\s{0,9})(?:hi|hello|hey|dear|good (?:morning|afternoon|evening|day))\b[^\n.!?]{0,30}[,.!]?\s{1,9}"
_THIS_IS = re.compile(rf"(?:^\s{{0,9}}|{_OPENING})(?:this is|i am|i'm|myself) ", re.IGNORECASE)
_AFTER_THIS_IS = re.compile(r"\s{0,9}(?:[,.!;\n-]|$)|\s{1,9}(?:here|from|again|and|writing)\b")
_AFTER_I_AM = re.compile(
    r"\s{0,9},?\s{0,9}(?:an? )?(?:aged? )?[0-9]{1,3}\b|\s{0,9},?\s{1,9}(?:from|and I|and i|I|aged)\b|"
    r",\s{1,9}(?:an?|your|the|mother|father|wife|husband|daughter|son)\b"
)


# "I am Anemic, 22 years old": a capital does not make it a name.
_DESCRIBES = re.compile(
    r"[A-Za-z]+(?:ic|ive|ous|ed|ing|less|ful|able|ible|ary|ent|ant|ese|ish|ist|itis|osis|emia|oid|"
    r"pathy|ness|tion|sion|ly|dal|nal|ial|cal|ual|ian)"
)


def _introduced(view: View) -> Iterator[Span]:
    text = view.text
    for cue in _SAYS_THE_NAME.finditer(text):
        end = read_name(text, cue.end(), title=True)
        if end is None:
            small = _SMALL.match(text, cue.end())
            if small and not is_ordinary(small.group()) and small.group().islower():
                end = small.end()
        if end is not None:
            yield cue.end(), end
    for opening, after in ((_I_AM, _AFTER_I_AM), (_THIS_IS, _AFTER_THIS_IS)):
        for match in opening.finditer(text):
            end = read_name(text, match.end())
            if end is None or not after.match(text, end):
                continue
            if not _DESCRIBES.fullmatch(text, match.end(), end) or is_given_name(text[match.end() : end]):
                yield match.end(), end


_GREETING = re.compile(
    _NO_LETTER_BEFORE
    + r"(?:hi+|hello|hallo|helo|hey|dear(?:est)?|namaste|greetings|good (?:morning|afternoon|evening|day)|"
    r"thanks|thank you|welcome(?: back)?|(?:hi|hello|hey) (?:there|dear)|sorry|dear (?:user|patient|mr|ms|mrs))"
    r"(?P<gap>,? {1,2}|[,!] ?)",
    re.IGNORECASE,
)
_AFTER_GREETING = re.compile(r" ?[,.!:;?\n-]| *$")
_AND = re.compile(r" (?:and|&) ")


def _greeted(view: View) -> Iterator[Span]:
    text = view.text
    for cue in _GREETING.finditer(text):
        start, direct = cue.end(), cue["gap"].isspace()
        end = read_name(text, start)
        if end is None:
            small = _SMALL.match(text, start)
            if (
                small
                and small.group().islower()
                and is_given_name(small.group())
                and not is_ordinary(small.group())
                and _AFTER_GREETING.match(text, small.end())
            ):
                yield start, small.end()
            continue
        first = _SMALL.match(text, start)
        known = first is not None and is_given_name(first.group())
        if known and first is not None and is_ordinary(first.group()):
            known = False
            direct = True
        if (direct and known) or ((direct or known) and _AFTER_GREETING.match(text, end)):
            yield start, end


_STRONG_CLOSING = re.compile(
    _NO_LETTER_BEFORE
    + r"(?:regards|rgds|(?:best|kind|warm) wishes|wishes|sincerely|faithfully|yours truly|respectfully|cordially|"
    r"(?:cheers|yours|with love|lots of love|love|take care|best)(?=[ \t]{0,9}[,\n]))"
    r"[ \t]{0,9}[,.!:-]{0,9}\s{0,9}[,.-]{0,2}\s{0,9}",
    re.IGNORECASE,
)
_THANKS = re.compile(
    _NO_LETTER_BEFORE + r"(?:thanks|thank you|thanking you|thankyou|thanx|thx|many thanks|bye|god bless)\b",
    re.IGNORECASE,
)
_AFTER_THANKS = re.compile(r"[ \t]{0,9}[,.!?:\n-]\s{0,9}[-~]?\s{0,9}")
_LINE_END = re.compile(
    r"[ \t]{0,9}[.,!]?[ \t]{0,9}"
    r"(?:,? ?\(?(?:MD|M\.D\.?|MBBS|M\.B\.B\.S\.?|MS|DM|DNB|FRCS|MRCP|PhD|RN|DO)\b[^\n]{0,60})?(?:\n|$)"
)
_DASHED = re.compile(r"(?:(?<=\n)|(?<=[.!?] )|(?<=[.!?]))[ \t]{0,9}[-~]{1,2}[ \t]{0,9}(?=[A-ZÀ-Þ])")
_SENTENCE_END = re.compile(r"[.!?]\s{1,3}(?=[A-Z])")
_BULLET = re.compile(r"^[ \t]{0,9}[-*•]", re.MULTILINE)
_FARTHEST = 90


_SMALL_TITLE = re.compile(r"(?:dr|Dr|DR)\.? {0,2}(?![A-Z])")
_SMALL_NAME = re.compile(rf"[{LETTER}]{{2,20}}(?: [{LETTER}]{{2,20}}){{0,2}}(?![{LETTER}'])")


def _small_name(text: str, start: int) -> int | None:
    """The end of one to three words in small letters, none of them an ordinary one."""
    name = _SMALL_NAME.match(text, start)
    if name is None or any(is_ordinary(word) and not is_given_name(word) for word in name.group().split()):
        return None
    return name.end()


def _signed(view: View) -> Iterator[Span]:
    text = view.text
    for cue in _STRONG_CLOSING.finditer(text):
        title = _SMALL_TITLE.match(text, cue.end())
        start = title.end() if title else cue.end()
        end = read_name(text, start) or _small_name(text, start)
        if end is not None and _LINE_END.match(text, end):
            yield start, end
    last = len(text.rstrip())
    for start in _last_words(text, last):
        end = read_name(text, start)
        if end is not None and not text[end:last].strip(" .,!"):
            yield start, end


def _last_words(text: str, last: int) -> Iterator[int]:
    """Where a name may start that ends the text, which ends at `last`."""
    first = max(0, last - _FARTHEST)
    for cue in _THANKS.finditer(text, first, last):
        yield from (gap.end() for gap in _AFTER_THANKS.finditer(text, cue.end(), last))
    for stop in _SENTENCE_END.finditer(text, first, last):
        word = _SMALL.match(text, stop.end())
        if word and is_given_name(word.group()) and not is_ordinary(word.group()):
            yield stop.end()
    dashes = list(_DASHED.finditer(text, first, last))
    if dashes and not _BULLET.search(text, 0, dashes[-1].start()):
        yield dashes[-1].end()


_INTRODUCTIONS = has_any("name", "i am ", "i'm ", "i m ", "im ", "this is", "myself")
_GREETINGS = has_any(
    "hi", "hello", "hallo", "helo", "hey", "dear", "namaste", "greetings", "good ", "thank", "welcome", "sorry",
)  # fmt: skip
_CLOSINGS = has_any(
    "regards", "rgds", "wishes", "sincerely", "faithfully", "truly", "respectfully", "cordially", "cheers",
    "yours", "love", "care", "best", "thank", "thanx", "thx", "bye", "bless", "-", "~",
)  # fmt: skip


def _may_be_signed(view: View) -> bool:
    last = len(view.text.rstrip())
    return _CLOSINGS(view) or _SENTENCE_END.search(view.text, max(0, last - _FARTHEST), last) is not None


NAME_RULES = (
    Rule("titled_name", has_any("dr", "doctor", "prof", "mr", "ms", "miss", "nurse"), _titled),
    Rule("introduced_name", _INTRODUCTIONS, _introduced),
    Rule("greeting_name", _GREETINGS, _greeted),
    Rule("signature_name", _may_be_signed, _signed),
)  # fmt: skip
