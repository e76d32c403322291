"""`Evidence`: a passage that was retrieved, under the id by which an answer may cite it.

The ids are stable: `table:42` is row 42 of the table, `wiki:Migraine@1234567#3fa9` a passage of revision 1234567
of that page, with the first digits of the sha256 of its words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import quote

from chatdoctor_hub.knowledge import Disease

__all__ = ["Evidence", "PassageLike", "PassageSource", "RowLike", "TableSource", "from_hit", "from_passage"]

_TITLE_LENGTH = 48
_DIGITS = 4


class RowLike(Protocol):
    """A hit in a disease table: id, disease, score, the row's words that matched, and the file and line."""

    id: str
    disease: Disease
    score: float
    matched: tuple[str, ...]
    source: str


class TableSource(Protocol):
    """A disease table or its index."""

    def search(self, text: str, k: int) -> Sequence[Any]:
        """The k best rows (`RowLike`) for a text, best first."""
        ...


class PassageLike(Protocol):
    """A passage of an encyclopedia, with the page, revision and licence it comes from."""

    text: str
    title: str
    section: str
    url: str
    revision: int
    licence: str
    score: float


class PassageSource(Protocol):
    """An encyclopedia, such as `WikipediaSource`."""

    def search(self, query: str, k: int) -> Sequence[Any]:
        """The k best passages (`PassageLike`) for search terms, best first."""
        ...


@dataclass(frozen=True)
class Evidence:
    """What was retrieved, and where from.

    Args:
        id: "table:42", "wiki:Migraine@1234567#3fa9"; no white space, commas or brackets in it.
        title: the disease, or the page.
        text: the passage, or what was read of it.
        source: the file and line, or the encyclopedia and section.
        url, revision, licence: of a page; "" and None where there is none.
        score: above 0; comparable within one source and one query only.
        matched: the row's own names and symptoms that account for the match.
        urgent: the part of `text` on what calls for help at once, which is always read.
    """

    id: str
    title: str
    text: str
    source: str
    url: str = ""
    revision: int | None = None
    licence: str = ""
    score: float = 0.0
    matched: tuple[str, ...] = ()
    urgent: str = ""

    @property
    def citation(self) -> str:
        """How an answer cites it: "[table:42]"."""
        return f"[{self.id}]"

    def to_record(self) -> dict[str, Any]:
        """What is kept beside an answer: everything but the text."""
        return {
            "id": self.id,
            "citation": self.citation,
            "title": self.title,
            "source": self.source,
            "url": self.url,
            "revision": self.revision,
            "licence": self.licence,
            "score": self.score,
        }


def from_hit(hit: RowLike) -> Evidence:
    """A row of a table; what calls for help at once comes first."""
    disease = hit.disease
    urgent = f"Signs that need help at once: {'; '.join(disease.red_flags)}." if disease.red_flags else ""
    lists = (
        ("Symptoms", disease.symptoms),
        ("In patients' words", disease.lay_symptoms),
        ("Tests", disease.tests),
        ("Medications", tuple(str(medication) for medication in disease.medications)),
        ("At home", disease.self_care),
    )
    said = [f"{title}: {'; '.join(items)}." for title, items in lists if items]
    text = " ".join(filter(None, [urgent, *said, disease.see_doctor, disease.cause]))
    return Evidence(
        id=f"table:{_plain(str(hit.id))}",
        title=disease.name,
        text=text,
        source=hit.source,
        score=float(hit.score),
        matched=tuple(hit.matched),
        urgent=urgent,
    )


def from_passage(passage: PassageLike) -> Evidence:
    """A passage of a page."""
    digest = hashlib.sha256(passage.text.encode("utf-8", "surrogatepass")).hexdigest()
    title = _plain(passage.title[:_TITLE_LENGTH].strip().replace(" ", "_"))
    return Evidence(
        id=f"wiki:{title}@{passage.revision}#{digest[:_DIGITS]}",
        title=passage.title,
        text=passage.text,
        source=", ".join(filter(None, ["Wikipedia", passage.section])),
        url=passage.url,
        revision=passage.revision,
        licence=passage.licence,
        score=float(passage.score),
    )


def _plain(text: str) -> str:
    """Letters, digits and a few signs of any script; the rest as in a URL."""
    return re.sub(r"[^\w.'-]", lambda found: quote(found[0], safe="", errors="surrogatepass"), text)
