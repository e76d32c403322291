"""`WikipediaSource` over a server on this machine: what it finds, and what it asks for."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("wikipediaapi")

from mediawiki_stand_in import StandIn, WikiPage, stand_in

from chatdoctor_hub.errors import ConfigError, MissingExtraError
from chatdoctor_hub.knowledge.wikipedia.source import Passage, WikipediaSource


@pytest.fixture
def wiki() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


@pytest.fixture
def source(wiki: StandIn) -> WikipediaSource:
    return WikipediaSource(endpoint=wiki.endpoint)


def test_a_passage_says_where_it_comes_from(source: WikipediaSource) -> None:
    best = source.search("how to calm a child with croup at home")[0]
    assert best.title == "Croup"
    assert best.section == "Care > At home"
    assert best.text.startswith("Keep the child calm")
    assert best.url == "https://wiki.invalid/wiki/Croup?oldid=1001"
    assert best.revision == 1001
    assert best.licence == "CC BY-SA 4.0"
    assert best.score > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        best.score = 1.0  # type: ignore[misc]


def test_the_best_comes_first_and_none_is_unrelated(source: WikipediaSource) -> None:
    found = source.search("stridor at night", k=10)
    assert [passage.section for passage in found] == ["Signs"]
    scores = [passage.score for passage in source.search("cough of children", k=10)]
    assert scores == sorted(scores, reverse=True)
    assert min(scores) > 0


def test_k_is_the_most(source: WikipediaSource) -> None:
    assert len(source.search("throat", k=1)) == 1
    assert len(source.search("throat", k=2)) == 2
    for k in (0, -1):
        with pytest.raises(ConfigError, match="k, the number of passages wanted, to be at least 1"):
            source.search("throat", k=k)


@pytest.mark.parametrize("query", ["", "  \n", "\x00\u200b", "what is it", "?!", "\ud800"])
def test_a_query_without_words_asks_nothing(source: WikipediaSource, wiki: StandIn, query: str) -> None:
    assert source.search(query) == []
    assert wiki.asked == []


def test_only_words_that_carry_meaning_are_sent(source: WikipediaSource, wiki: StandIn) -> None:
    source.search('I have been having a SORE throat, insource:/x/ -"late" intitle:a* | since vitamin c!')
    assert wiki.asked[0]["srsearch"] == "sore throat insource x late intitle vitamin c"
    source.search("COVID-19 and Crohn's disease of type 2")
    assert "covid-19 crohn's" in [asked.get("srsearch", "")[:16] for asked in wiki.asked]
    source.search("croup " + " ".join(f"word{number}" for number in range(500)))
    assert max(len(asked.get("srsearch", "")) for asked in wiki.asked) <= 300


def test_where_no_page_has_all_the_words_any_will_do(source: WikipediaSource, wiki: StandIn) -> None:
    found = source.search("my daughter Matilda wheezes with stridor on Tuesdays")
    assert found[0].title == "Croup"
    assert [asked["srsearch"] for asked in wiki.asked if "srsearch" in asked] == [
        "daughter matilda wheezes stridor tuesdays",
        "daughter OR matilda OR wheezes OR stridor OR tuesdays",
    ]
    assert source.search("zzyzx") == []


def test_requests_say_who_asks_and_are_kind(source: WikipediaSource, wiki: StandIn) -> None:
    source.search("croup")
    assert wiki.kinds == ["search", "extracts|info|pageprops"]
    assert all(asked["maxlag"] == "5" for asked in wiki.asked)
    assert all(agent.startswith("chatdoctor-hub/") for agent in wiki.agents)
    WikipediaSource(endpoint=wiki.endpoint, user_agent="clinic/1 (me@example.org)", maxlag=None).page("Croup")
    assert wiki.agents[-1].startswith("clinic/1 (me@example.org) Wikipedia-API/")
    assert "maxlag" not in wiki.asked[-1]


def test_threads_take_turns(source: WikipediaSource, wiki: StandIn) -> None:
    results: list[list[Passage]] = []
    threads = [
        threading.Thread(target=lambda: results.append(source.search("croup cough"))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    assert all(result == results[0] for result in results)
    assert wiki.most_at_once == 1


def test_a_page_in_its_order(source: WikipediaSource, wiki: StandIn) -> None:
    found = source.page("Croup")
    assert [passage.section for passage in found] == ["", "Signs", "Care > At home", "Care > In hospital"]
    assert all(passage.score == 0 for passage in found)
    assert wiki.kinds == ["extracts|info|pageprops"], "one request"


@pytest.mark.parametrize("title", ["Acid reflux", "acid_reflux", " Acid  reflux#Care ", "Acid\x00 reflux"])
def test_titles_are_normalised_and_redirects_followed(source: WikipediaSource, title: str) -> None:
    found = source.page(title)
    assert {passage.title for passage in found} == {"Heartburn"}
    assert found[0].url == "https://wiki.invalid/wiki/Heartburn?oldid=2002"


@pytest.mark.parametrize("title", ["Nowhere", "Barking", "User:Ada"])
def test_pages_without_passages(source: WikipediaSource, wiki: StandIn, title: str) -> None:
    wiki.pages["User:Ada"] = WikiPage("A page about Ada.", 7, namespace=2)
    assert source.page(title) == []


@pytest.mark.parametrize("title", ["", " ", "#Care", "a|b", "a[b", "{x}", "y" * 300])
def test_what_cannot_be_a_title_is_not_asked_for(source: WikipediaSource, wiki: StandIn, title: str) -> None:
    assert source.page(title) == []
    assert wiki.asked == []


def test_lists_of_other_pages_are_passed_over(source: WikipediaSource, wiki: StandIn) -> None:
    found = source.search("barking seal", k=20)
    assert {passage.title for passage in found} == {"Croup"}
    assert {"Barking", "Croup"} == {asked["titles"] for asked in wiki.asked if "titles" in asked}
    # A wiki may lack the extension that marks them.
    wiki.pages["Barking"].is_list = False
    assert source.page("Barking") == []
    wiki.pages["Seal (disambiguation)"] = WikiPage("A seal is this and that.", 9)
    assert source.page("Seal (disambiguation)") == []


def test_two_names_of_one_page_are_one_page(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.pages["Laryngotracheitis"] = WikiPage("stridor stridor", 1)  # found by search, then redirected
    found = source.search("stridor", k=20)
    assert len({passage.text for passage in found}) == len(found)


def test_no_more_pages_are_read_than_wanted(wiki: StandIn) -> None:
    WikipediaSource(endpoint=wiki.endpoint, pages=1).search("throat")
    assert len(wiki.asked) == 2


def test_text_is_cleaned(source: WikipediaSource, wiki: StandIn) -> None:
    wiki.pages["Hiccup"] = WikiPage(
        "A hic\x00cup\u202e is\ud800 a spasm.\r\n\r\n== Ca\x1bre ==\r\nHold\u200b it.", 5
    )
    assert [(passage.section, passage.text) for passage in source.page("Hiccup")] == [
        ("", "A hiccup is a spasm."),
        ("Care", "Hold it."),
    ]


def test_long_sections_become_several_passages(wiki: StandIn) -> None:
    wiki.pages["Sleep"] = WikiPage("\n".join(["One short sentence on sleep and rest. " * 10] * 10), 6)
    found = WikipediaSource(endpoint=wiki.endpoint, words=(50, 80)).page("Sleep")
    assert [len(passage.text.split()) for passage in found] == [70] * 10
    assert [
        len(passage.text.split()) for passage in WikipediaSource(endpoint=wiki.endpoint).page("Sleep")
    ] == [140] * 5


def test_the_link_without_an_address_from_the_wiki(wiki: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    real = StandIn._entry
    for address in ("javascript:alert(1)", "", "//wiki.invalid/x", "https://x/[table:9]", "https://x/ y"):
        monkeypatch.setattr(StandIn, "_entry", lambda *given, a=address: {**real(*given), "canonicalurl": a})
        found = WikipediaSource(endpoint=wiki.endpoint).page("Sore throat")
        base = wiki.endpoint.removesuffix("api.php")
        assert found[0].url == f"{base}index.php?title=Sore_throat&oldid=3003"


def test_the_password_of_an_endpoint_is_in_no_link(wiki: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    real = StandIn._entry
    monkeypatch.setattr(StandIn, "_entry", lambda *given: {**real(*given), "canonicalurl": ""})
    endpoint = wiki.endpoint.replace("://", "://me:secret@")
    found = WikipediaSource(endpoint=endpoint).page("Croup")
    assert found[0].url == f"{wiki.endpoint.removesuffix('api.php')}index.php?title=Croup&oldid=1001"


def test_what_is_asked_is_not_logged(source: WikipediaSource, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        source.search("Matilda with croup")
        source.page("Heartburn")
    assert caplog.records, "the libraries below do log"
    logged = " ".join(record.getMessage().lower() for record in caplog.records)
    assert not any(word in logged for word in ("matilda", "croup", "heartburn"))


def test_a_source_travels_to_another_process(source: WikipediaSource) -> None:
    source.search("croup")
    copy = pickle.loads(pickle.dumps(source))
    assert copy.search("croup") == source.search("croup")


def test_it_names_the_address_without_a_password() -> None:
    found = WikipediaSource("de", endpoint="https://me:secret@wiki.invalid/w/api.php")
    assert repr(found) == "<WikipediaSource 'de': https://wiki.invalid/w/api.php>"
    assert WikipediaSource(" DE ").endpoint == "https://de.wikipedia.org/w/api.php"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"language": ""}, "language"),
        ({"language": "en.evil.org/"}, "language"),
        ({"endpoint": "ftp://wiki.invalid"}, "endpoint"),
        ({"endpoint": "wiki.invalid/w/api.php"}, "endpoint"),
        ({"user_agent": " "}, "user_agent"),
        ({"user_agent": "a\r\nX-Other: b"}, "user_agent"),
        ({"user_agent": None}, "user_agent"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"patience": -1}, "patience"),
        ({"max_age": -1}, "max_age"),
        ({"pages": 0}, "pages"),
        ({"words": (9, 5)}, "words"),
        ({"words": (0, 5)}, "words"),
        ({"maxlag": 0}, "maxlag"),
        ({"language": None}, "language"),
        ({"endpoint": "http://[::1"}, "endpoint"),
        ({"timeout": "10"}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"pages": 1.5}, "pages"),
        ({"words": 5}, "words"),
        ({"words": (1, 2, 3)}, "words"),
    ],
)
def test_settings_out_of_range(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ConfigError, match=rf"^Expected .* WikipediaSource, found these wrong: {fault} \("):
        WikipediaSource(**settings)


def test_all_faults_at_once() -> None:
    with pytest.raises(ConfigError, match=r"language \(.*, timeout \(.*, words \("):
        WikipediaSource("x y", timeout=-1, words=(5, 1))


def test_without_the_package(source: WikipediaSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wikipediaapi", None)
    with pytest.raises(MissingExtraError, match=r"chatdoctor-hub\[wikipedia\]"):
        source.search("croup")
