"""`CitationCheck`: an answer's citations against what was retrieved, while the answer is still being written.

A citation that is known is written in its one form, `[table:42]`; every other is removed and counted.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from chatdoctor_hub.langchain.knowledge.citation_forms import Cluster, ClusterReader, find_start, folded

__all__ = ["CitationCheck", "Checked", "check_citations"]

_LONGEST = 400  # characters that are held back at most while it is not known whether they are a citation
_CLOSING = ".,;:!?)]}…。，；：！？、"
_JOINERS = "\u200c\u200d"
# What stood on both sides of a removed citation must not become one: "[table" and "99".
_NAME_LEFT = re.compile(r"(?:table|wiki)\Z", re.IGNORECASE)
_GOES_ON = re.compile(r"[\d:：]")
_APART = " … "


@dataclass(frozen=True)
class Checked:
    """An answer after the check.

    Args:
        text: with known citations only.
        kept: the ids that it cites, each once, in the order of the text.
        invented: how many citations were removed.
    """

    text: str
    kept: tuple[str, ...]
    invented: int


def check_citations(text: str, allowed: Iterable[str]) -> Checked:
    """Check a whole answer.

    Args:
        text: as the model wrote it.
        allowed: the ids that were retrieved, such as "table:42".
    """
    check = CitationCheck(allowed)
    checked = check.feed(text) + check.flush()
    return Checked(checked, check.kept, check.invented)


class CitationCheck:
    """Checks an answer piece by piece; the pieces it gives back, joined, do not depend on how it was cut.

    Outer white space of the answer is removed, and with a removed citation the white space and the brackets
    that were there for it; so are characters that nobody sees, behind which a citation could hide.

    Args:
        allowed: the ids that were retrieved.

    Attributes:
        invented: how many citations were removed so far.
    """

    def __init__(self, allowed: Iterable[str]) -> None:
        self.invented = 0
        self._known = _forms(allowed)
        self._kept: dict[str, None] = {}
        self._held = ""  # text that may be part of a citation
        self._context = ""  # the character before it
        self._before = ""  # white space that is written once something follows it
        self._after = ""  # the same, after a removed citation
        self._removed = False  # nothing but white space came since a citation was removed
        self._written = ""  # the last characters that were given back

    @property
    def kept(self) -> tuple[str, ...]:
        """The ids cited so far, each once, in order."""
        return tuple(self._kept)

    def feed(self, piece: str) -> str:
        """Add text; returns what of it is certain."""
        self._held += "".join(
            char for char in piece if char in _JOINERS or unicodedata.category(char) != "Cf"
        )
        return self._advance(final=False)

    def flush(self) -> str:
        """The rest, once nothing more comes."""
        return self._advance(final=True)

    def _advance(self, *, final: bool) -> str:
        # A name within a word is none, so the character before the text matters.
        text, at, out = self._context + self._held, len(self._context), ""
        while at < len(text):
            start, is_there = find_start(text, at, final=final)
            out += self._plain(text[at:start])
            at = start
            if not is_there:
                break
            window = text[at : at + _LONGEST]
            is_whole = len(window) < _LONGEST
            reader = ClusterReader(window, final=final and is_whole)
            found = reader.read(0)
            if reader.undecided and is_whole:
                break
            if found is None or reader.undecided:
                out += self._plain(text[at])
                at += 1
            else:
                out += self._cited(found)
                at += found.end
        self._held, self._context = text[at:], text[max(0, at - 1) : at]
        return out

    def _cited(self, cluster: Cluster) -> str:
        known = [self._known.get(folded(name)) for name in cluster.names]
        self.invented += known.count(None)
        ids = dict.fromkeys(name for name in known if name is not None)
        self._kept.update(ids)
        if ids:
            return self._write("".join(f"[{name}]" for name in ids))
        self._before, self._after, self._removed = self._gap(), "", True
        return ""

    def _plain(self, text: str) -> str:
        """Text that is no citation, its white space held until something follows it."""
        body = text.lstrip()
        self._hold(text[: len(text) - len(body)])
        words = body.rstrip()
        out = self._write(words) if words else ""
        self._hold(body[len(words) :])
        return out

    def _hold(self, space: str) -> None:
        if self._removed:
            self._after += space
        else:
            self._before += space

    def _gap(self) -> str:
        """The white space since the last word; what stood on both sides of a removed citation is one gap."""
        return max(self._after, self._before, key=lambda gap: (gap.count("\n"), bool(gap), -len(gap)))

    def _write(self, text: str) -> str:
        gap = self._gap()
        if self._removed:
            gap = "" if text[0] in _CLOSING and "\n" not in gap else gap or " "
            if _NAME_LEFT.search(self._written) and _GOES_ON.match(text):
                gap = _APART
        gap = gap if self._written else ""
        self._before, self._after, self._removed = "", "", False
        self._written = (self._written + gap + text)[-len("table") :]
        return gap + text


def _forms(allowed: Iterable[str]) -> dict[str, str]:
    """What may be written -> the id that is meant; a page's name alone will do while one passage has it."""
    ids = tuple(dict.fromkeys(allowed))
    pages: dict[str, list[str]] = {}
    for name in ids:
        for short in {name.rpartition("#")[0], name.partition("@")[0]} if "@" in name else ():
            pages.setdefault(folded(short), []).append(name)
    known = {short: names[0] for short, names in pages.items() if len(names) == 1}
    return known | {folded(name): name for name in ids}
