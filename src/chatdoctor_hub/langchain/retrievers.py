"""`DiseaseRetriever` and `WikipediaRetriever`: a disease table and Wikipedia for LangChain.

What they return is data that others wrote: a prompt sets it apart (`lookup_tools` shows how), and an answer
cites it by `metadata["citation"]`, the id that `KnowledgeDoctor` uses as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import run_in_executor
from pydantic import Field

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.knowledge.wikipedia.source import WikipediaSource
from chatdoctor_hub.langchain.knowledge.evidence import from_hit, from_passage
from chatdoctor_hub.langchain.settings import check_known, in_one_sentence

__all__ = ["DiseaseRetriever", "Searchable", "WikipediaRetriever", "disease_text"]

_MOST_ITEMS = 25  # of a list in a document
_MOST_LETTERS = 2_000  # of a text or a list in a document


@runtime_checkable
class Searchable(Protocol):
    """A disease table, its index, or a source of passages."""

    def search(self, text: str, k: int, /) -> Sequence[Any]:
        """The k best hits or passages, best first."""
        ...


class _KnowledgeRetriever(BaseRetriever):
    """What both have in common: k, at construction and at a call, and the way into a thread of its own."""

    k: int = Field(default=5, ge=1)

    if not TYPE_CHECKING:

        def __init__(self, **settings: Any) -> None:
            check_known(type(self).__name__, settings, type(self).model_fields)
            with in_one_sentence(type(self)):
                super().__init__(**settings)

    def _search(self, query: str, k: int) -> list[Document]:
        raise NotImplementedError

    def _documents(self, query: str, k: int | None) -> list[Document]:
        wanted = self.k if k is None else k
        if isinstance(wanted, bool) or not isinstance(wanted, int) or wanted < 1:
            raise ConfigError(
                f"Expected k, the number of documents wanted, to be at least 1, found {wanted!r}; raise it."
            )
        return self._search(query, wanted) if query.strip() else []

    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return self._documents(query, k)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, k: int | None = None
    ) -> list[Document]:
        return await run_in_executor(None, self._documents, query, k)


class DiseaseRetriever(_KnowledgeRetriever):
    """The rows of a disease table that fit a patient's words.

        DiseaseRetriever(index=DiseaseIndex.open("diseases.sqlite"), k=3).invoke("my tummy aches")

    Each document is one row, readable; its metadata are `source` (file and line), `id`, `score`, `matched` (the
    row's own words that matched), `disease`, `icd10cm` and `citation` ("[table:42]").

    Args:
        index: a `DiseaseIndex`, a `DiseaseTable`, or anything with the same `search`; the starter table when
            None.
        k: documents at most; a call can give its own: `invoke(query, k=3)`.

    Raises:
        ConfigError: for an unknown argument or a setting out of range.
    """

    index: Searchable | None = Field(default=None, exclude=True, repr=False)

    def _search(self, query: str, k: int) -> list[Document]:
        index = self.index if self.index is not None else DiseaseTable.starter()
        return [_from_hit(hit) for hit in index.search(query, k)]


class WikipediaRetriever(_KnowledgeRetriever):
    """The passages of Wikipedia that fit key words.

        WikipediaRetriever(source=WikipediaSource("en", cache="wiki"), k=3).invoke("croup treatment")

    Each document is one passage; its metadata are `title`, `section`, `url` (of the revision), `revision`,
    `licence`, `score`, `source`, `id` and `citation`. The query leaves this machine.

    Args:
        source: a `WikipediaSource`, or anything with the same `search`; the English Wikipedia when None.
        k: documents at most; a call can give its own: `invoke(query, k=3)`.

    Raises:
        ConfigError: for an unknown argument or a setting out of range.
    """

    source: Searchable | None = Field(default=None, exclude=True, repr=False)
    k: int = Field(default=3, ge=1)

    def _search(self, query: str, k: int) -> list[Document]:
        source = self.source if self.source is not None else _english()
        return [_from_passage(passage) for passage in source.search(query, k)]


@cache
def _english() -> WikipediaSource:
    """One for all, so that together they keep to one request at a time."""
    return WikipediaSource()


def disease_text(disease: Disease) -> str:
    """A row to read: its name, then a line for each thing it tells; very long ones are cut short, and say so."""
    told = (
        ("Symptoms", _listed(disease.symptoms)),
        ("Cause", _shortened(disease.cause)),
        ("Tests", _listed(disease.tests)),
        ("Medications", _listed([str(medication) for medication in disease.medications])),
        ("Red flags (need help at once)", _listed(disease.red_flags)),
        ("When to see a doctor", _shortened(disease.see_doctor)),
    )
    return "\n".join([_shortened(disease.name), *(f"{name}: {text}" for name, text in told if text)])


def _listed(items: Sequence[str]) -> str:
    rest = len(items) - _MOST_ITEMS
    return _shortened("; ".join(items[:_MOST_ITEMS])) + (f"; and {rest} more" if rest > 0 else "")


def _shortened(text: str) -> str:
    line = " ".join(text[: 4 * _MOST_LETTERS].split())
    if len(line) <= _MOST_LETTERS:
        return line
    return line[:_MOST_LETTERS].rpartition(" ")[0] + " […]"


def _from_hit(hit: Any) -> Document:
    evidence = from_hit(hit)
    return Document(
        id=evidence.id,
        page_content=disease_text(hit.disease),
        metadata={
            "source": hit.source,
            "id": hit.id,
            "score": hit.score,
            "matched": list(hit.matched),
            "disease": hit.disease.name,
            "icd10cm": hit.disease.icd10cm,
            "citation": evidence.citation,
        },
    )


def _from_passage(passage: Any) -> Document:
    evidence = from_passage(passage)
    return Document(
        id=evidence.id,
        page_content=passage.text,
        metadata={
            "source": passage.url,
            "id": evidence.id,
            "title": passage.title,
            "section": passage.section,
            "url": passage.url,
            "revision": passage.revision,
            "licence": passage.licence,
            "score": passage.score,
            "citation": evidence.citation,
        },
    )
