"""`Retrieval`: a question taken to the table and to Wikipedia, and what came back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from chatdoctor_hub.errors import ConfigError, MissingExtraError
from chatdoctor_hub.langchain.knowledge.evidence import (
    Evidence,
    PassageSource,
    TableSource,
    from_hit,
    from_passage,
)
from chatdoctor_hub.langchain.knowledge.keywords import lexical_keywords

__all__ = ["Failure", "Found", "Question", "Retrieval"]

_MOST_TERMS = 5  # of a query to Wikipedia, which wants all of its words on a page


@dataclass(frozen=True)
class Question:
    """What is looked for.

    Args:
        words: all that the patient said.
        keywords: the model's search terms; none when there are none.
    """

    words: str
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Something that did not work and was done without.

    Args:
        part: "keywords", "table", "wikipedia" or "reading".
        error: the kind of error; never its message, which may repeat the patient's words.
    """

    part: str
    error: str


@dataclass(frozen=True)
class Found:
    """What was found.

    Args:
        passages: the best first, each once.
        failures: the sources that could not be asked.
    """

    passages: tuple[Evidence, ...]
    failures: tuple[Failure, ...] = ()


class Retrieval:
    """Searches a table and, if there is one, Wikipedia.

    The patient's own words are always looked up in the table by themselves, whatever the keywords are, and
    at least every other place among the passages is theirs. Wikipedia is a third party: it is sent the
    keywords and the table's own words for what was found, and the patient's words only where there are
    neither.

    Args:
        table: a disease table or its index.
        wikipedia: a source of passages.
        k: passages that are kept of each.
    """

    def __init__(self, table: TableSource | None, wikipedia: PassageSource | None, k: int) -> None:
        self.table = table
        self.wikipedia = wikipedia
        self.k = k

    def search(self, question: Question) -> Found:
        """Look in both; a source that raises is noted, and the other one still answers.

        Raises:
            ConfigError, MissingExtraError: by a source that is not set up.
        """
        failures: list[Failure] = []
        rows = self._each("table", self._rows, [question.words, " ".join(question.keywords)], failures)
        queries = self._queries(question, rows[0] if rows else [])
        pages = self._each("wikipedia", self._pages, queries, failures)
        passages = [*_in_turn(rows, self.k), *_in_turn(pages, self.k)]
        return Found(tuple(passages), tuple(dict.fromkeys(failures)))

    def _rows(self, text: str) -> list[Evidence]:
        return [] if self.table is None else [from_hit(hit) for hit in self.table.search(text, self.k)]

    def _pages(self, query: str) -> list[Evidence]:
        if self.wikipedia is None:
            return []
        return [from_passage(passage) for passage in self.wikipedia.search(query, self.k)]

    def _queries(self, question: Question, rows: Sequence[Evidence]) -> list[str]:
        """For Wikipedia: the keywords, and the table's words for what the patient said."""
        if self.wikipedia is None:
            return []
        known = list(dict.fromkeys(text for row in rows[:2] for text in row.matched))
        own = known or ([] if question.keywords else lexical_keywords(question.words, _MOST_TERMS))
        return [" ".join(terms[:_MOST_TERMS]) for terms in (question.keywords, own) if terms]

    @staticmethod
    def _each(
        part: str, search: Callable[[str], list[Evidence]], queries: Iterable[str], failures: list[Failure]
    ) -> list[list[Evidence]]:
        found = []
        for query in dict.fromkeys(filter(str.strip, queries)):
            try:
                found.append([passage for passage in search(query) if passage.score > 0])
            except (ConfigError, MissingExtraError):
                raise  # no source will answer until that is mended
            except Exception as error:  # noqa: BLE001  a network has many ways to fail
                failures.append(Failure(part, type(error).__name__))
                found.append([])
        return found


def _in_turn(lists: Sequence[Sequence[Evidence]], k: int) -> list[Evidence]:
    """The first of each list, the second of each, and so on; each passage once, k at most."""
    kept: dict[str, Evidence] = {}
    for passage in (item for row in zip_longest(*lists) for item in row if item is not None):
        if len(kept) < k:
            kept.setdefault(passage.id, passage)
    return list(kept.values())
