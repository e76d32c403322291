"""What a wiki knows of its pages: `WikipediaClient`, over the package `wikipedia-api`.

The package's own `_get` logs the whole address, retries without an end that the caller sets, and knows
Wikipedia's addresses only. It is replaced by `wikipedia_asking`. The package gives no revision together with
the text that belongs to it, so pages are asked for in one request of their own.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from chatdoctor_hub.errors import ChatDoctorError, MissingExtraError
from chatdoctor_hub.knowledge.wikipedia.asking import PoliteAsker

__all__ = ["PageHead", "WikipediaClient"]

_TITLES = 50  # in one request
# What reading an answer of another shape ends in.
_ODD = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
_SAYS_DISAMBIGUATION = re.compile(r"\(disambiguation\)$", re.IGNORECASE)
_MAY_REFER = re.compile(r"\b(?:may|can|could) (?:also |commonly )?(?:refer to|stand for|mean):")
_NO_TITLE = re.compile(r"[<>\[\]{}|\n]")


@dataclass(frozen=True)
class PageHead:
    """What is known of a page without its text.

    Args:
        title: after redirects.
        revision: the number of its newest revision; 0 where it is missing.
        url: where it is read, or "".
        kind: "disambiguation" for a page that only lists others.
    """

    title: str
    revision: int = 0
    url: str = ""
    kind: Literal["page", "disambiguation", "missing"] = "missing"


class WikipediaClient:
    """Asks one wiki; safe to use from several threads, which take turns.

    Args:
        language: of the Wikipedia, its subdomain.
        user_agent: who asks.
        asker: reaches it.
        maxlag: seconds that the servers' copies may lag behind before this client waits, or None.

    Every method raises:
        DataError: when no answer comes, or the server refuses; a later try may succeed.
        DataFormatError: when the answer is none of a MediaWiki API.
        MissingExtraError: without the package `wikipedia-api`.
    """

    def __init__(
        self,
        language: str,
        user_agent: str,
        asker: PoliteAsker,
        maxlag: int | None,
    ) -> None:
        self._language = language
        self._user_agent = user_agent
        self._asker = asker
        self._maxlag = {} if maxlag is None else {"maxlag": maxlag}
        self._lock = threading.Lock()
        self._wiki: Any = None
        self._process = 0

    def find(self, words: str, limit: int) -> list[str]:
        """The titles of the articles that fit the words best, by the wiki's own search."""
        wiki = self._open()
        try:
            return [str(title) for title in wiki.search(words, limit=limit).pages]
        except ChatDoctorError:
            raise
        except _ODD as error:
            raise self._asker.garbled(error) from error

    def heads(self, titles: Sequence[str]) -> dict[str, PageHead]:
        """What is known of each title; one that cannot be a title is missing."""
        possible = [title for title in titles if _is_title(title)]
        found: dict[str, PageHead] = {}
        for start in range(0, len(possible), _TITLES):
            part = possible[start : start + _TITLES]
            answer = self._query(part, "info|pageprops")
            entries = {str(entry.get("title", "")): entry for entry in _entries(answer)}
            for title in part:
                entry = entries.get(_target(title, answer))
                found[title] = self._head(title, entry)
        return {title: found.get(title, PageHead(title)) for title in titles}

    def read(self, title: str) -> tuple[PageHead, str]:
        """A page and its plain text, with headings between equals signs; "" where there is none."""
        if not _is_title(title):
            return PageHead(title), ""
        answer = self._query([title], "extracts|info|pageprops", explaintext=1, exsectionformat="wiki")
        entry = next(iter(_entries(answer)), None)
        return self._head(title, entry), str((entry or {}).get("extract", ""))

    def _query(self, titles: Sequence[str], prop: str, **given: Any) -> dict[str, Any]:
        asked = {
            "action": "query",
            "format": "json",
            "redirects": 1,
            "titles": "|".join(titles),
            "prop": prop,
            "inprop": "url",
            "ppprop": "disambiguation",
            **self._maxlag,
            **given,
        }
        answer: dict[str, Any] = self._open()._get(self._language, asked)
        found = answer.get("query", {})
        if not isinstance(found, dict):
            raise self._asker.garbled()
        return found

    def _head(self, title: str, entry: Mapping[str, Any] | None) -> PageHead:
        if entry is None or "missing" in entry or "invalid" in entry or entry.get("ns", 0) != 0:
            return PageHead(title)
        try:
            found, revision = str(entry["title"]), int(entry["lastrevid"])
            is_list = (
                "disambiguation" in entry.get("pageprops", {})
                or _SAYS_DISAMBIGUATION.search(found)
                or _MAY_REFER.search(str(entry.get("extract", ""))[:300])
            )
        except _ODD as error:
            raise self._asker.garbled(error) from error
        url = str(entry.get("canonicalurl") or entry.get("fullurl") or "")
        return PageHead(found, revision, url, "disambiguation" if is_list else "page")

    def _open(self) -> Any:
        with self._lock:
            if self._wiki is None or self._process != os.getpid():  # connections do not survive a fork
                self._wiki, self._process = self._connect(), os.getpid()
            return self._wiki

    def _connect(self) -> Any:
        """The package's client, with requests as they are made here."""
        try:
            import wikipediaapi
        except ImportError as error:
            raise MissingExtraError("wikipedia-api", "wikipedia") from error
        asker = self._asker

        class Wiki(wikipediaapi.Wikipedia):  # type: ignore[misc]
            def _get(self, language: str, params: dict[str, Any]) -> dict[str, Any]:
                return asker.ask(self._client, params)

        return Wiki(
            user_agent=self._user_agent,
            language=self._language,
            timeout=asker.timeout,
            transport=asker.transport(),
            extra_api_params=self._maxlag,
        )


def _is_title(title: str) -> bool:
    try:
        size = len(title.encode("utf-8"))
    except UnicodeEncodeError:
        return False
    return bool(title.strip()) and size <= 255 and not _NO_TITLE.search(title)


def _entries(query: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The pages of an answer, in either of the two layouts of the API."""
    pages = query.get("pages", [])
    listed = pages.values() if isinstance(pages, dict) else pages
    return [entry for entry in listed if isinstance(entry, dict)] if isinstance(pages, (dict, list)) else []


def _target(title: str, query: Mapping[str, Any]) -> str:
    """The title that an answer lists a page under."""
    for step in ("normalized", "redirects"):
        moves = query.get(step)
        for move in moves if isinstance(moves, list) else []:
            if isinstance(move, dict) and move.get("from") == title:
                title = str(move.get("to", title))
    return title
