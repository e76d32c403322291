"""The ways in which a model writes citations, read from a text that may not be complete yet.

Read generously, so that none slips through: `[table:42]`, several in one pair of brackets, brackets in brackets,
round or CJK brackets, none at all, another case, white space within. `[3]` or `[PMID: 1]`, which were never
offered to the model, are citations too.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

__all__ = ["Cluster", "ClusterReader", "find_start", "folded"]

_PAIRS = dict(zip("[(【［〔（{", "])】］〕）}", strict=True))
_SQUARE = "[【［〔"
_NAMES = "table|wiki"
_ID_CHARS = r"[^\s\[\]()【】［］〔〕（）{},;|<>*`\"“”]"
_COLON = r"\s?[:：]\s?"
_WORDS = ("and", "see", "source", "sources", "source:", "sources:")
_ID = re.compile(rf"(?:{_NAMES})(?:{_COLON}|\s(?=\d)){_ID_CHARS}*", re.IGNORECASE)
_PAGE = re.compile(rf"wiki{_COLON}\S.*", re.IGNORECASE)
_BARE = re.compile(rf"(?:table[:：]\d{_ID_CHARS}*|wiki[:：](?=[\w@#%]){_ID_CHARS}+)", re.IGNORECASE)
_MORE = re.compile(rf"\d{_ID_CHARS}*")
_BETWEEN = re.compile(r"[\s,;&|/]+")
_AND = re.compile(r"(?:and|see|sources?:?)(?=[\s\[(【［〔（])", re.IGNORECASE)
_START = re.compile(rf"[{re.escape(''.join(_PAIRS))}]|(?<![^\W_])(?:{_NAMES})[:：]", re.IGNORECASE)
_NAME_BEGUN = re.compile(r"(?:t|ta|tab|tabl|w|wi|wik|(?:table|wiki)\s?[:：]?\s?)", re.IGNORECASE)
_BEGUN = re.compile(r"(?<![^\W_])(?:t|ta|tab|tabl|table|w|wi|wik|wiki)\Z", re.IGNORECASE)
_FOREIGN = re.compile(
    r"\W*\d[\d\s,;–-]*\W*"
    r"|\W*[^\W\d_]+\s*[:#]\s*\d[\w./-]*\W*"
    r"|\W*(?:sources?|docs?|documents?|refs?|references?|notes?|passages?|citations?|cite)\W*\d[\w\W]{0,20}"
    r"|\W*(?:sources?|refs?|references?|citations?|cite)\s*:[^\n]*"
    r"|\W*(?:pmid|pmcid|doi|https?|www)\b[^\n]*",
    re.IGNORECASE,
)
_TRAILING = ".,:!?'’_-"
_MOST_WORDS = 12
_DEEPEST = 3  # brackets in brackets


@dataclass(frozen=True)
class Cluster:
    """Citations that stand together.

    Args:
        names: as they were written.
        end: where the text goes on.
    """

    names: tuple[str, ...]
    end: int


def find_start(text: str, at: int, *, final: bool) -> tuple[int, bool]:
    """Where the next citation may begin, and whether there is enough of the text to look at it.

    Args:
        text: so far.
        at: where to look from.
        final: nothing more comes.

    Returns:
        The place, which is the end of the text when there is none.
    """
    found = _START.search(text, at)
    if found is not None:
        return found.start(), True
    begun = None if final else _BEGUN.search(text, at)
    return (begun.start() if begun else len(text)), False


def folded(name: str) -> str:
    """What two spellings of one citation have in common."""
    plain = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
    kind, _, rest = re.sub(rf"^({_NAMES})\s?:?\s?", r"\1:", plain).partition(":")
    return f"{kind}:{rest.strip(_TRAILING + ' ').replace(' ', '_')}"


class ClusterReader:
    """Reads one cluster of citations; what it reads is the same however much of the text came before.

    Args:
        text: so far.
        final: nothing more comes.

    Attributes:
        undecided: the text ended before it was known what this is.
    """

    def __init__(self, text: str, *, final: bool) -> None:
        self._text = text
        self._final = final
        self.undecided = False

    def read(self, at: int) -> Cluster | None:
        """The citations that begin at `at`, where a bracket or a name stands; None when there are none."""
        opening = self._text[at]
        if opening not in _PAIRS:
            return self._bare(at)
        ways = (self._listed, self._group, self._foreign) if opening in _SQUARE else (self._group,)
        for way in ways:
            found = way(at)
            if found is not None or self.undecided:
                return found
        return None

    def _bare(self, at: int) -> Cluster | None:
        """A citation without brackets."""
        found = _BARE.match(self._text, at)
        if self._is_last(found.end() if found else self._seen(at)) or found is None:
            return None
        name = found[0].rstrip(_TRAILING)
        return Cluster((name,), at + len(name))

    def _listed(self, at: int) -> Cluster | None:
        """Square brackets with citations between commas; the title of a page may hold spaces."""
        content, end = self._content(at)
        if content is None:
            return None
        names = [" ".join(piece.split()) for piece in re.split("[,;]", content)]
        if not all(_is_name(name) for name in names):
            return None
        return Cluster(tuple(names), end)

    def _group(self, at: int, depth: int = 0) -> Cluster | None:
        """Brackets with nothing but citations in them, which may have brackets of their own."""
        text, closing = self._text, _PAIRS[self._text[at]]
        names: list[str] = []
        end = at + 1
        while not self._is_last(at := self._after_gap(end)):
            if at < len(text) and text[at] == closing:
                return Cluster(tuple(names), at + 1) if names else None
            inner = None
            if at < len(text) and depth < _DEEPEST:
                inner = self._group(at, depth + 1) if text[at] in _PAIRS else self._name(at, names)
            if inner is None:
                # A bracket that is not closed still belongs to the citations that it opens.
                return Cluster(tuple(names), end) if names and not self.undecided else None
            names.extend(inner.names)
            end = inner.end
        return None

    def _after_gap(self, at: int) -> int:
        """Past white space, commas and the small words between citations."""
        while found := _BETWEEN.match(self._text, at) or _AND.match(self._text, at):
            at = found.end()
        rest = self._text[at : at + len(max(_WORDS, key=len))].lower()
        return len(self._text) if any(word.startswith(rest) for word in _WORDS) and not self._final else at

    def _name(self, at: int, before: list[str]) -> Cluster | None:
        """One citation within brackets; after one of the table a number alone will do."""
        found = _ID.match(self._text, at)
        more = _MORE.match(self._text, at) if found is None and before else None
        reached = found or more
        if self._is_last(reached.end() if reached else self._seen(at)) or reached is None:
            return None
        kind = "" if found else "table:"
        return Cluster((kind + reached[0].rstrip(_TRAILING),), reached.end())

    def _foreign(self, at: int) -> Cluster | None:
        """Square brackets with another kind of citation in them."""
        content, end = self._content(at)
        if content is None or not _FOREIGN.fullmatch(unicodedata.normalize("NFKC", content)):
            return None
        return Cluster((content,), end)

    def _content(self, at: int) -> tuple[str | None, int]:
        """What stands in square brackets that hold no others, on one line, and where the text goes on."""
        closing = _PAIRS[self._text[at]]
        stop = re.compile(rf"[\n{re.escape(_SQUARE)}{re.escape(closing)}]").search(self._text, at + 1)
        if stop is None:
            self.undecided = self.undecided or not self._final
            return None, at
        return (self._text[at + 1 : stop.start()], stop.end()) if stop[0] == closing else (None, at)

    def _seen(self, at: int) -> int:
        """How far the text was looked at to find that there is no citation at `at`."""
        return len(self._text) if _NAME_BEGUN.fullmatch(self._text, at) else at

    def _is_last(self, at: int) -> bool:
        """Whether more text could change what was read up to here."""
        self.undecided = self.undecided or (not self._final and at >= len(self._text))
        return self.undecided


def _is_name(name: str) -> bool:
    is_page = _PAGE.fullmatch(name) is not None and len(name.split()) <= _MOST_WORDS
    return is_page or _ID.fullmatch(name) is not None
