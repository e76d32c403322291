"""What goes wrong on the way: repeated where that may help, told in one sentence where it does not."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("wikipediaapi")

from mediawiki_stand_in import Fault, StandIn, api_error, body, dripping, slow, stand_in, status, truncated

from chatdoctor_hub.errors import ChatDoctorError, DataError, DataFormatError
from chatdoctor_hub.knowledge.wikipedia import asking
from chatdoctor_hub.knowledge.wikipedia.source import WikipediaSource

SECRET = "Matilda"


@pytest.fixture
def wiki() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_WAIT", 0.02)


@pytest.fixture
def source(wiki: StandIn) -> WikipediaSource:
    return WikipediaSource(endpoint=wiki.endpoint, timeout=5, patience=5)


def told(source: WikipediaSource, kind: type[ChatDoctorError] = DataError) -> str:
    """The error of a search: one sentence, and none of the patient's words."""
    with pytest.raises(kind) as caught:
        source.search(f"{SECRET} has croup")
    text = str(caught.value)
    assert type(caught.value) is kind
    assert text.startswith("Expected ")
    assert text.endswith(".")
    assert ", found " in text
    assert "\n" not in text
    chain: BaseException | None = caught.value
    while chain is not None:
        assert SECRET.lower() not in str(chain).lower()
        chain = chain.__cause__ or chain.__context__
    return text


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(source: WikipediaSource, wiki: StandIn, code: int) -> None:
    wiki.faults[:] = [status(code), status(code)]
    assert source.search("croup")
    assert len(wiki.asked) == 4


@pytest.mark.parametrize("fault", [status(503, Retry_After="1"), "date", "maxlag"])
def test_it_waits_as_long_as_it_is_asked_to(
    source: WikipediaSource, wiki: StandIn, fault: Fault | str
) -> None:
    if fault == "date":
        fault = status(429, Retry_After=formatdate(time.time() + 2, usegmt=True))
    elif fault == "maxlag":
        fault = api_error("maxlag", "Waiting for a database server", Retry_After="1")
    assert callable(fault)
    wiki.faults[:] = [fault]
    assert source.page("Croup")
    assert 0.9 < wiki.times[1] - wiki.times[0] < 2.5


def test_a_pause_that_is_too_long_is_told_and_kept(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.faults[:] = [status(429, Retry_After="3600")]
    began = time.monotonic()
    assert "found the HTTP status 429; it asks to wait 3600 seconds" in told(source)
    assert "it asked for a longer pause before; it asks to wait 3600 seconds" in told(source)
    assert time.monotonic() - began < 2
    assert len(wiki.asked) == 1, "it is not asked during the pause"


def test_a_server_that_stays_busy(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.faults[:] = [status(503)] * 50
    assert "found the HTTP status 503; search again later, or check the network." in told(source)
    assert len(wiki.asked) == 4


def test_attempts_end_with_the_patience(wiki: StandIn) -> None:
    wiki.faults[:] = [status(429, Retry_After="1")] * 50
    began = time.monotonic()
    told(WikipediaSource(endpoint=wiki.endpoint, patience=1.5))
    assert time.monotonic() - began < 2.5
    assert len(wiki.asked) == 2


@pytest.mark.parametrize("code", [301, 400, 401, 403, 404, 410])
def test_a_refusal_is_not_asked_again(source: WikipediaSource, wiki: StandIn, code: int) -> None:
    wiki.faults[:] = [status(code, Location="https://wiki.invalid/elsewhere")] * 9
    text = told(source)
    assert f"found the HTTP status {code}; " in text
    assert ("user_agent" in text) is (code == 403)
    assert len(wiki.asked) == 1


@pytest.mark.parametrize(
    "fault",
    [
        body(b"<html><body>Please sign in</body></html>", kind="text/html"),
        body(b""),
        body(b"[]"),
        body(b"null"),
        body(b'{"query": {"search": [{"ns": 0}]}}'),
        body(b'{"query": {"search": 7}}'),
        body(b'{"query": [1]}'),
        body(b"\xff\xfe\x00"),
        body(b"[" * 100_000),
        body(b'{"query": {"search": [{"title": "Cro'),
        body(b"no gzip", Content_Encoding="gzip"),
        body(b"x" * (9 * 2**20)),
    ],
    ids=[
        "HTML",
        "empty",
        "list",
        "null",
        "no title",
        "number",
        "odd",
        "bytes",
        "nested",
        "cut",
        "gzip",
        "huge",
    ],
)
def test_an_answer_of_another_kind(source: WikipediaSource, wiki: StandIn, fault: Fault) -> None:
    wiki.faults[:] = [fault]
    assert "Expected the JSON of a MediaWiki API from http://127.0.0.1" in told(source, DataFormatError)
    assert len(wiki.asked) == 1


@pytest.mark.parametrize(
    "answer",
    [
        b'{"query": {"pages": {"7": {"ns": 0, "title": "Croup"}}}}',
        b'{"query": {"pages": {"7": {"ns": 0, "title": "Croup", "lastrevid": "x"}}}}',
        b'{"query": 5}',
    ],
)
def test_a_page_without_what_it_needs(source: WikipediaSource, wiki: StandIn, answer: bytes) -> None:
    wiki.faults[:] = [body(answer)]
    with pytest.raises(DataFormatError, match="Expected the JSON of a MediaWiki API"):
        source.page("Croup")


@pytest.mark.parametrize("answer", [b"{}", b'{"query": {"pages": []}}', b'{"query": {"pages": {"1": 3}}}'])
def test_an_answer_without_pages_is_no_page(source: WikipediaSource, wiki: StandIn, answer: bytes) -> None:
    wiki.faults[:] = [body(answer)]
    assert source.page("Croup") == []


NAMES = st.sampled_from([
    "query", "pages", "search", "title", "ns", "lastrevid", "extract", "pageprops", "missing", "error", "code",
    "normalized", "redirects", "from", "to", "canonicalurl", "searchinfo", "totalhits", "size", "7", "-1",
])  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["Croup", "croup", "", "a|b", "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=12,
)
PAGES = st.fixed_dictionaries(
    {"ns": st.just(0) | VALUES, "title": st.just("Croup") | VALUES, "lastrevid": st.integers() | VALUES},
    optional={"extract": st.text() | VALUES, "pageprops": VALUES, "canonicalurl": VALUES},
)
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "pages": st.dictionaries(NAMES, PAGES, max_size=2) | st.lists(PAGES, max_size=2) | VALUES,
        "search": st.lists(PAGES, max_size=2) | VALUES,
        "redirects": VALUES,
    },
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.fixed_dictionaries({"query": QUERIES}) | VALUES, min_size=3, max_size=3))
def test_any_json_is_passages_or_an_error_of_ours(
    source: WikipediaSource, wiki: StandIn, answers: list[Any]
) -> None:
    wiki.faults[:] = [body(json.dumps(answer).encode()) for answer in answers]
    try:
        assert all(passage.score > 0 for passage in source.search("croup"))
        wiki.faults[:] = [body(json.dumps(answer).encode()) for answer in answers]
        assert all(passage.text for passage in source.page("Croup"))
    except DataError:
        pass


def test_the_newer_layout_of_the_api_is_read_as_well(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.faults[:] = [
        body(
            b'{"query": {"pages": [{"ns": 0, "title": "Croup", "lastrevid": 8, "extract": "Croup barks."}]}}'
        ),
        body(b'{"query": {"pages": [{"ns": 0, "title": "Croup", "missing": true}]}}'),
    ]
    assert [(passage.text, passage.revision) for passage in source.page("Croup")] == [("Croup barks.", 8)]
    assert source.page("Croup") == []


@pytest.mark.parametrize("code", ["cirrussearch-query-too-long", "badvalue", f"x {SECRET}"])
def test_an_error_of_the_api_is_told_by_its_code_alone(
    source: WikipediaSource, wiki: StandIn, code: str
) -> None:
    wiki.faults[:] = [api_error(code, f"Query for {SECRET} failed")] * 9
    text = told(source)
    assert f"found the error {code if ' ' not in code else 'unknown'!r}; " in text
    assert len(wiki.asked) == 1


def test_a_rate_limit_of_the_api_is_waited_for(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.faults[:] = [api_error("ratelimited")]
    assert source.search("croup")


def test_an_answer_that_breaks_off_is_asked_for_again(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.faults[:] = [truncated]
    assert source.search("croup")
    wiki.faults[:] = [truncated] * 9
    assert "found no connection, or one that broke off (RemoteProtocolError)" in told(source)


def test_a_slow_server(wiki: StandIn) -> None:
    source = WikipediaSource(endpoint=wiki.endpoint, timeout=0.3, patience=5)
    wiki.faults[:] = [slow(0.45)]
    assert source.search("croup")
    wiki.faults[:] = [slow(0.45)] * 9
    assert "found none within 0.3 seconds" in told(source)


def test_a_server_that_sends_a_byte_now_and_then(wiki: StandIn) -> None:
    wiki.faults[:] = [dripping] * 9
    began = time.monotonic()
    assert "found no end of it after 0.2 seconds" in told(
        WikipediaSource(endpoint=wiki.endpoint, timeout=0.2)
    )
    assert time.monotonic() - began < 4


def test_offline() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    source = WikipediaSource(endpoint=f"http://me:secret@127.0.0.1:{port}/w/api.php", patience=3)
    began = time.monotonic()
    text = told(source)
    assert text == (
        f"Expected an answer from http://127.0.0.1:{port}/w/api.php, found no connection, or one that broke off "
        "(ConnectError); search again later, or check the network."
    )
    assert time.monotonic() - began < 2


def test_after_an_error_the_source_still_works(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.faults[:] = [status(404)]
    told(source)
    assert source.search("croup")


def test_an_error_leaves_nothing_in_the_cache(wiki: StandIn, tmp_path) -> None:
    source = WikipediaSource(endpoint=wiki.endpoint, cache=tmp_path)
    for fault in (status(404), body(b"<html>"), api_error("badvalue")):
        wiki.faults[:] = [fault]
        with pytest.raises(DataError):
            source.search("croup")
    assert source.search("croup")


def test_the_proxy_of_the_environment_is_used(wiki: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", wiki.endpoint.removesuffix("/w/api.php"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert WikipediaSource(endpoint="http://wiki.invalid/w/api.php").page("Croup")
    monkeypatch.setenv("no_proxy", "wiki.invalid")
    assert asking._proxy_for("http://wiki.invalid/w/api.php") is None
    assert asking._proxy_for("http://127.0.0.1/w/api.php") is None
