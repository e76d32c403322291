r"""`normalize_text`, `normalize`: one spelling for what looks the same, and nothing that no speaker said.

In order, until nothing changes any more: halves of surrogate pairs joined or removed; HTML to text, where it is
plainly HTML; the two characters backslash and n to a line end, where the text is no code, LaTeX or path; text
that was decoded with the wrong code page put right (ftfy); control characters, zero-width and bidirectional marks
removed; Unicode's form NFC; runs of white space shortened.

What doctors write stays: ≥ ≤ µ ½ ° and superscripts, "<5 mg", "temp <38", full-width punctuation.
"""

from __future__ import annotations

import html
import html.entities
import re
import unicodedata
from functools import lru_cache
from typing import Any

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError, MissingExtraError

__all__ = ["normalize", "normalize_text"]

_NOTHING: frozenset[str] = frozenset()
# Clean ASCII, which most texts are, is known by what it lacks.
_SUSPECT = re.compile(r"[^\x20-\x7e\n]|[&\\]|<[a-zA-Z/!]|  | ?\n |\n{3}| \n|\A[ \n]|[ \n]\Z")
_MOST_PASSES = 50  # only tags nested in tags need more than three

_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\ufff9-\ufffb]|\x1b\\[[0-9;]{0,12}[A-Za-z]")
_TERMINAL = re.compile("\x1b\\[[0-9;]{0,12}[A-Za-z]")
# Soft hyphens, zero-width spaces, direction marks, tags. A zero-width joiner stays between two characters that
# are not ASCII: emoji and Indic and Persian words are spelled with it.
_INVISIBLE = re.compile(
    "[\u00ad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff\U000e0000-\U000e007f]"
    "|(?<![^\x00-\x7f])[\u200c\u200d]|[\u200c\u200d](?![^\x00-\x7f\u200c\u200d\\s])"
)
_LINE_END = re.compile("\r\n?|[\x0b\x0c\x85\u2028\u2029]")
_SPACES = re.compile(r"[^\S\n]+")
_SPACE_AT_LINE_END = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")

_TAGS = (
    r"br|p|div|span|em|strong|ul|ol|li|table|tbody|thead|tr|td|th|h[1-6]|font|img|hr|sup|sub|blockquote|pre|code|"
    r"script|style|html|body|head|title|del|strike|center|small|big|b|i|u|a|s"
)
_TAG = re.compile(rf"<(/?)({_TAGS})(\s[^<>]{{0,500}})?/?>", re.IGNORECASE)
_ONE_LETTER = frozenset("biuas")
_UNSAID = frozenset(["script", "style", "del", "strike", "s"])
_DOCTYPE = re.compile(r"<!doctype html[^<>]{0,200}>", re.IGNORECASE)
_NEW_LINE_TAGS = frozenset(
    [
        "br",
        "p",
        "div",
        "li",
        "tr",
        "hr",
        "ul",
        "ol",
        "table",
        "blockquote",
        "pre",
        *(f"h{n}" for n in range(1, 7)),
    ]
)
_CELLS = frozenset(["td", "th", "img"])
_RAISED = re.compile(
    r"<sup(?:\s[^<>]{0,200})?>\s{0,3}([+\-−]?\d{1,4}[+\-−]?|[+\-−])\s{0,3}</sup\s{0,3}>", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,30});")

# An ampersand that was escaped more than once.
_AGAIN_AND_AGAIN = re.compile(r"&(?:amp;)+(?=#?[A-Za-z0-9]{1,30};)")
# What is left of a no-break space in the wrong code page once its second half went with the outer white space.
_HALF_A_SPACE = re.compile(r"(?<![^\W\d_])Â(?=\s|\Z)")
_ESCAPED = re.compile(r"(?<!\\)(?:\\r\\n|\\n|\\t(?![a-z]))")
_NO_PROSE = re.compile(
    r"\b[A-Za-z]:\\|\\\\\w|```|\\[dwsWSDbB][+*?{\]]|\\x[0-9a-fA-F]{2}|[\"'`]\\[nrt][\"'`]|%[sd]\\n"
    r"|\\(?:frac|d?frac|sqrt|sum|int|begin|end|text\w{0,4}|times|cdot|alpha|beta|gamma|delta|mu|nu|nabla|neq|not|"
    r"theta|tan|tau|rightarrow|to|top|mathrm|mathbf|left|right|pm|leq?|geq?|circ|pi|sigma|notin|newline|newcommand)"
    r"(?![A-Za-z])|\$[^$\n]{0,200}\\[A-Za-z]"
)


def normalize_text(text: str) -> tuple[str, frozenset[str]]:
    """A text in its normal form, and the kinds of what was done.

    Normalising twice changes nothing more.

    Returns:
        The text, which may be empty, and the kinds: "surrogates", "html", "escaped_white_space", "mojibake",
        "control_characters", "invisible_characters", "unicode_form", "white_space".

    Raises:
        DataFormatError: when it is no string.
        MissingExtraError: without ftfy, for a text that is not ASCII.
    """
    if not isinstance(text, str):
        raise DataFormatError(f"Expected a text to normalise, found {type(text).__name__}; pass a string.")
    if _is_plain(text) or not _SUSPECT.search(text):
        return text, _NOTHING
    kinds: set[str] = set()
    for _ in range(_MOST_PASSES):
        before = text
        text = _pass(text, kinds)
        if text == before:
            break
    return text, frozenset(kinds)


def _is_plain(text: str) -> bool:
    """Whether there is plainly nothing to do; true of no text that `_SUSPECT` knows, and ten times as fast."""
    return (
        text.isascii()
        and text.isprintable()
        and not any(sign in text for sign in ("  ", "&", "\\", "<"))
        and text.strip(" ") == text
    )


def normalize(dialogue: Dialogue) -> tuple[Dialogue | None, frozenset[str]]:
    """A dialogue with every turn and its topic in normal form; turns without a word are left out.

    Returns:
        The dialogue, the same object where nothing changed, or None where no patient's or no doctor's words are
        left; and the kinds of what was done, with "empty_turns" among them where a turn was left out.

    Raises:
        DataFormatError: when it is no dialogue.
        MissingExtraError: without ftfy, for words that are not ASCII.
    """
    if not isinstance(dialogue, Dialogue):
        raise DataFormatError(
            f"Expected a dialogue to normalise, found {type(dialogue).__name__}; make one with "
            "Dialogue.from_messages."
        )
    kinds: frozenset[str] = _NOTHING
    turns: list[Turn] = []
    for turn in dialogue.turns:
        words, done = normalize_text(turn.content)
        if not done:
            turns.append(turn)
            continue
        kinds |= done
        if words.strip():
            turns.append(Turn(turn.role, words))
        else:
            kinds |= {"empty_turns"}
    topic, done = normalize_text(dialogue.topic)
    kinds |= done
    if not kinds:
        return dialogue, kinds
    if not {"patient", "doctor"} <= {turn.role for turn in turns}:
        return None, kinds
    return Dialogue(tuple(turns), id=dialogue.id, source=dialogue.source, topic=topic), kinds


def _pass(text: str, kinds: set[str]) -> str:
    if not text.isascii():
        text = _noted(text, _join_surrogates(text), "surrogates", kinds)
    if "<" in text or "&" in text:
        text = _noted(text, _without_html(text), "html", kinds)
    if "\\" in text and not _NO_PROSE.search(text):
        text = _noted(text, _ESCAPED.sub(_white_space, text), "escaped_white_space", kinds)
    if not text.isascii():
        fixed: str = _ftfy().fix_encoding(text, _settings())
        text = _noted(text, _HALF_A_SPACE.sub("", fixed), "mojibake", kinds)
    text = _noted(text, _LINE_END.sub("\n", text), "white_space", kinds)
    text = _noted(text, _CONTROL.sub("", _TERMINAL.sub("", text)), "control_characters", kinds)
    if not text.isascii():
        text = _noted(text, _INVISIBLE.sub("", text), "invisible_characters", kinds)
        text = _noted(text, unicodedata.normalize("NFC", text), "unicode_form", kinds)
    return _noted(text, _short_white_space(text), "white_space", kinds)


def _noted(before: str, after: str, kind: str, kinds: set[str]) -> str:
    if after != before:
        kinds.add(kind)
    return after


def _join_surrogates(text: str) -> str:
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "ignore")


def _white_space(escape: re.Match[str]) -> str:
    return "\t" if escape[0] == r"\t" else "\n"


def _short_white_space(text: str) -> str:
    text = _SPACE_AT_LINE_END.sub("\n", _SPACES.sub(" ", text))
    return _EMPTY_LINES.sub("\n\n", text).strip()


def _without_html(text: str) -> str:
    """The text without tags and entities; "<" that opens no tag of HTML stays."""
    if "<" in text:
        names = {(match[1], match[2].lower()) for match in _TAG.finditer(text)}
        # "a <b> c" may compare: a tag of one letter is one only if it is closed, or stands among others.
        plain = any(name not in _ONE_LETTER or ("/", name) in names for _, name in names)
        text = _without_comments(_DOCTYPE.sub(" ", text)) if "<!" in text else text
        if plain:
            text = _without_tags(_RAISED.sub(r"^\1", text))
    if "&" not in text:
        return text
    return _ENTITY.sub(_character, _AGAIN_AND_AGAIN.sub("&", text))


def _without_comments(text: str) -> str:
    kept = []
    at = 0
    while (start := text.find("<!--", at)) >= 0 and (end := text.find("-->", start)) >= 0:
        kept.append(text[at:start])
        at = end + 3
    return " ".join([*kept, text[at:]])


def _without_tags(text: str) -> str:
    """The text with its tags gone, and with them what they say is not said: scripts, and words struck out."""
    tags = list(_TAG.finditer(text))
    ends: dict[str, list[re.Match[str]]] = {}
    for tag in reversed(tags):
        if tag[1]:
            ends.setdefault(tag[2].lower(), []).append(tag)
    kept = []
    at = 0
    for tag in tags:
        name = tag[2].lower()
        if tag[1]:
            ends[name].pop()
        if tag.start() < at:
            continue
        kept.append(text[at : tag.start()])
        at = tag.end()
        if name in _UNSAID and not tag[1] and ends.get(name):
            at = ends[name][-1].end()
            kept.append(" ")
        elif name in _NEW_LINE_TAGS:
            kept.append("\n")
        elif name in _CELLS:
            kept.append(" ")
    return "".join([*kept, text[at:]])


def _character(entity: re.Match[str]) -> str:
    name = entity[0][1:]
    if name[0] != "#" and name not in html.entities.html5:
        return entity[0]
    return html.unescape(entity[0])


@lru_cache(maxsize=1)
def _settings() -> Any:
    # Only the wrong code page: the rest is done here, so that each kind is told, and µ, ½ and ： stay.
    return _ftfy().TextFixerConfig(
        unescape_html=False,
        remove_terminal_escapes=False,
        fix_encoding=True,
        fix_latin_ligatures=False,
        fix_character_width=False,
        uncurl_quotes=False,
        fix_line_breaks=False,
        fix_surrogates=False,
        remove_control_chars=False,
        normalization=None,
        explain=False,
    )


def _ftfy() -> Any:
    try:
        import ftfy
    except ImportError:
        raise MissingExtraError("ftfy", "corpus") from None
    return ftfy
