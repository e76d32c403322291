"""`WikipediaSource`: passages of Wikipedia that fit a question, each with what its licence asks to be kept.

What is asked leaves this machine, as words without those that carry no meaning; the server is the one at
`endpoint`. Wikipedia's text is under CC BY-SA 4.0: who shows or shares it names the page, its revision and
the licence, and passes on changed text under the same one.
"""

from __future__ import annotations

import math
import operator
import os
import re
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from chatdoctor_hub import __version__
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge.searching.words import stems
from chatdoctor_hub.knowledge.wikipedia.asking import PoliteAsker, address_of
from chatdoctor_hub.knowledge.wikipedia.client import PageHead, WikipediaClient
from chatdoctor_hub.knowledge.wikipedia.page_cache import WikipediaCache
from chatdoctor_hub.knowledge.wikipedia.passages import bm25, clean_prose, cut_passages, sections_of

__all__ = ["Passage", "WikipediaSource"]

_LICENCE = "CC BY-SA 4.0"
_USER_AGENT = f"chatdoctor-hub/{__version__} (https://pypi.org/project/chatdoctor-hub/)"
_WEEK = 7 * 86_400.0
_MOST_ASKED = 300  # characters; Wikipedia's search takes no more
_MOST_READ = 10_000  # characters of a question
_WORD = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_ADDRESS = re.compile(r"https?://[\w.~:/?@!$&'()*+,;=%-]{3,2000}", re.ASCII)
_SPARE = 2  # pages found for one that is read: some only list others
_WITHOUT_PROSE = frozenset(
    {"bibliography", "citations", "external links", "footnotes", "further reading", "gallery", "notes"}
    | {"references", "see also", "sources", "works cited"}
)


@dataclass(frozen=True)
class Passage:
    """A piece of a page.

    Args:
        text: one or more paragraphs, a line each.
        title: of the page, after redirects.
        section: its headings from the outermost on, "Treatment > Medication"; "" for the introduction.
        url: of this very revision.
        revision: its number.
        licence: of the text.
        score: above 0 for what a search found (comparable within one search only), else 0.
    """

    text: str
    title: str
    section: str
    url: str
    revision: int
    licence: str = _LICENCE
    score: float = 0.0


class WikipediaSource:
    """Finds passages in a Wikipedia, or in another wiki with MediaWiki's API.

        source = WikipediaSource("en", user_agent="my-clinic/1.0 (me@example.org)", cache="~/.cache/wiki")
        source.search("croup in small children", k=3)

    Requests go one at a time, are repeated where the server is busy, and wait as long as it asks to. With a
    cache, what was asked lately is answered without one; pages that were read longer ago are read again
    only when their revision has changed. One source may serve several threads, one folder several
    processes.

    Args:
        language: of the Wikipedia: "en", "de", "zh".
        user_agent: says who asks, and how to be reached; Wikimedia's rules want it. By default it names
            this package.
        cache: a folder, or None to keep nothing. Questions are not kept in clear. It grows, and may be
            deleted at any time.
        endpoint: the address of another `api.php`; then `language` serves as a label only.
        timeout: seconds for one attempt at a request.
        patience: seconds for one request with all its attempts and waits.
        max_age: seconds that an answer in the cache is used unasked.
        pages: how many of the pages found are read for one search.
        words: about how many a passage has, at least and at most.
        maxlag: seconds that the servers' copies may lag behind before requests wait; None to say nothing.

    Raises:
        ConfigError: listing all settings that are wrong.
    """

    def __init__(
        self,
        language: str = "en",
        *,
        user_agent: str = _USER_AGENT,
        cache: str | os.PathLike[str] | None = None,
        endpoint: str | None = None,
        timeout: float = 10.0,
        patience: float = 30.0,
        max_age: float = _WEEK,
        pages: int = 3,
        words: tuple[int, int] = (120, 250),
        maxlag: int | None = 5,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "language")}
        self.language = language.strip().lower() if isinstance(language, str) else ""
        self.endpoint = endpoint or f"https://{self.language}.wikipedia.org/w/api.php"
        _check({**given, "language": self.language, "endpoint": self.endpoint})
        self._again = partial(type(self), language, **given)
        self._pages = pages
        self._words = (words[0], words[1])
        self._max_age = max_age
        self._cache = WikipediaCache(cache, (self.language, self.endpoint))
        asker = PoliteAsker(self.endpoint, timeout, patience)
        self._client = WikipediaClient(self.language, user_agent, asker, maxlag)

    def __repr__(self) -> str:
        return f"<WikipediaSource {self.language!r}: {address_of(self.endpoint)}>"

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return (self._again, ())  # connections stay behind

    def search(self, query: str, k: int = 3) -> list[Passage]:
        """The passages that fit best, best first; none that shares no word with the query.

        Args:
            query: key words or a question; of its length 10,000 characters are read, and the first words
                that carry meaning are asked for. It is never taken for search syntax.
            k: how many at most.

        Raises:
            ConfigError: when k is below 1.
            DataError: when no answer comes, or the server refuses; DataFormatError when the answer is
                none of a MediaWiki API.
            MissingExtraError: without the package `wikipedia-api`.
        """
        if k < 1:
            raise ConfigError(
                f"Expected k, the number of passages wanted, to be at least 1, found {k}; raise it."
            )
        query = clean_prose(query[:_MOST_READ])
        words = _words_of(query)
        if not words:
            return []
        read = islice(self._read_all(self._find(words)), self._pages)
        found = [passage for page in read for passage in page]
        scores = bm25(query, [(f"{passage.title}\n{passage.section}", passage.text) for passage in found])
        best = sorted(range(len(found)), key=lambda at: -scores[at])[:k]
        return [replace(found[at], score=scores[at]) for at in best if scores[at] > 0]

    def page(self, title: str) -> list[Passage]:
        """All passages of a page, in its order; none where it is missing, or only lists other pages.

        Raises:
            DataError, DataFormatError, MissingExtraError: as `search` does.
        """
        plain = " ".join(clean_prose(title).partition("#")[0].replace("_", " ").split())
        return next(self._read_all([plain]), []) if plain else []

    def _find(self, words: Sequence[str]) -> list[str]:
        """Titles of pages that have all the words, or else any of them."""
        limit = self._pages * _SPARE
        for asked in dict.fromkeys((_joined(words, " "), _joined(words, " OR "))):
            titles = self._cache.get("search", asked, limit, max_age=self._max_age)
            if not _is_list_of_text(titles):
                titles = self._client.find(asked, limit)
                if titles:  # nothing found today may be found tomorrow
                    self._cache.put(titles, "search", asked, limit)
            if titles:
                return list(titles)
        return []

    def _read_all(self, titles: Sequence[str]) -> Iterator[list[Passage]]:
        """The passages of each page that has any, asking as little as can be."""
        known = {title: head for title in titles if (head := self._head(title))}
        old = [title for title in titles if title not in known and self._head(title, fresh=False)]
        for title, head in self._client.heads(old).items():
            self._keep(title, head)
            known[title] = head
        seen = set()
        for title in titles:
            head, text = self._read(title, known.get(title))
            if head.kind == "page" and head.title not in seen:
                seen.add(head.title)
                if passages := list(self._cut(head, text)):
                    yield passages

    def _read(self, title: str, head: PageHead | None) -> tuple[PageHead, str]:
        if head is not None and head.kind != "page":
            return head, ""
        text = self._cache.get("text", head.title, head.revision) if head is not None else None
        if head is None or not isinstance(text, str):
            head, text = self._client.read(title)
            self._keep(title, head, text)
        return head, text

    def _head(self, title: str, *, fresh: bool = True) -> PageHead | None:
        age = {"max_age": self._max_age} if fresh else {}
        kept = self._cache.get("head", title, **age)
        try:
            return PageHead(**kept) if kept else None
        except TypeError:
            return None

    def _keep(self, title: str, head: PageHead, text: str | None = None) -> None:
        """Keep what is known of a page, and drop the text of a revision that is no longer its newest."""
        old = self._head(title, fresh=False)
        if old is not None and (old.title, old.revision) != (head.title, head.revision):
            self._cache.drop("text", old.title, old.revision)
        if head.kind == "missing":
            self._cache.drop("head", title)
            return
        # The text first: a head promises it.
        if text is not None and head.kind == "page":
            self._cache.put(text, "text", head.title, head.revision)
        for name in {title, head.title}:
            self._cache.put(vars(head), "head", name)

    def _cut(self, head: PageHead, extract: str) -> Iterator[Passage]:
        url, title = _permalink(head, self.endpoint), clean_prose(head.title)
        for section, text in sections_of(clean_prose(extract)):
            if section.partition(" > ")[0].casefold() in _WITHOUT_PROSE:
                continue
            for piece in cut_passages(text, self._words):
                yield Passage(piece, title, section, url, head.revision)


def _is_address(text: str) -> bool:
    parts = urllib.parse.urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


_RULES: tuple[tuple[str, Callable[[Any], Any], str], ...] = (
    ("language", partial(re.fullmatch, "[a-z][a-z0-9-]{1,30}"), "the subdomain of a Wikipedia, such as 'en'"),
    ("endpoint", _is_address, "an address that starts with http:// or https://"),
    (
        "user_agent",
        partial(re.fullmatch, r"[\x21-\x7e][\x20-\x7e]{3,}[\x21-\x7e]"),
        "a line of ASCII that says who asks",
    ),
    ("timeout", lambda value: 0 < value < math.inf, "seconds, above 0"),
    ("patience", lambda value: 0 <= value < math.inf, "seconds, 0 or more"),
    ("max_age", lambda value: value >= 0, "seconds, 0 or more"),
    ("pages", lambda value: operator.index(value) >= 1, "a whole number from 1"),
    ("words", lambda pair: len(pair) == 2 and 1 <= pair[0] <= pair[1], "two numbers, the smaller one first"),
    ("maxlag", lambda value: value is None or operator.index(value) >= 1, "whole seconds from 1, or None"),
)


def _check(given: Mapping[str, Any]) -> None:
    faults = []
    for name, is_right, wanted in _RULES:
        try:
            good = is_right(given[name])
        except (TypeError, ValueError):
            good = False
        if not good:
            faults.append(f"{name} (give {wanted})")
    if faults:
        raise ConfigError(
            f"Expected other settings for WikipediaSource, found these wrong: {', '.join(faults)}."
        )


def _words_of(query: str) -> list[str]:
    """The words to ask for, once each: those with a stem, and letters and numbers that tell kinds apart."""
    words = dict.fromkeys(_WORD.findall(query.lower()))
    return [word for word in words if stems(word) or (len(word) == 1 and word not in "ai")]


def _joined(words: Iterable[str], between: str) -> str:
    """As many of the words, from the first on, as a search takes."""
    asked = ""
    for word in words:
        longer = f"{asked}{between}{word}" if asked else word[:_MOST_ASKED]
        if len(longer) > _MOST_ASKED:
            break
        asked = longer
    return asked


def _is_list_of_text(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _permalink(head: PageHead, endpoint: str) -> str:
    if _ADDRESS.fullmatch(head.url):
        return f"{head.url}{'&' if '?' in head.url else '?'}oldid={head.revision}"
    query = urllib.parse.urlencode({"title": head.title.replace(" ", "_"), "oldid": head.revision})
    return f"{address_of(endpoint).removesuffix('api.php')}index.php?{query}"
