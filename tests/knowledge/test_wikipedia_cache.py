"""The cache: what is known is not asked again, and what it holds can be relied on."""

from __future__ import annotations

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("wikipediaapi")

from mediawiki_stand_in import StandIn, WikiPage, stand_in

from chatdoctor_hub.knowledge.wikipedia.page_cache import WikipediaCache
from chatdoctor_hub.knowledge.wikipedia.source import WikipediaSource


@pytest.fixture
def wiki() -> Iterator[StandIn]:
    with stand_in() as found:
        yield found


def source_of(wiki: StandIn, folder: Path, **more: Any) -> WikipediaSource:
    return WikipediaSource(endpoint=wiki.endpoint, cache=folder, **more)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def test_a_hit_asks_nothing(wiki: StandIn, tmp_path: Path) -> None:
    first = source_of(wiki, tmp_path)
    found, page = first.search("croup cough"), first.page("Acid reflux")
    asked = len(wiki.asked)
    again = source_of(wiki, tmp_path)
    assert again.search("croup cough") == found
    assert again.page("Acid reflux") == page
    assert again.page("Heartburn") == page, "known under its own name as well"
    assert again.page("Barking") == []
    assert again.page("Barking") == []
    assert wiki.kinds[asked:] == ["extracts|info|pageprops"], "for the page that was not known yet"


def test_without_a_folder_all_is_asked_again(wiki: StandIn) -> None:
    source = WikipediaSource(endpoint=wiki.endpoint)
    source.search("croup")
    source.search("croup")
    assert wiki.kinds == ["search", "extracts|info|pageprops"] * 2


def test_what_was_not_found_is_asked_again(wiki: StandIn, tmp_path: Path) -> None:
    source = source_of(wiki, tmp_path)
    assert source.search("hiccup") == source.page("Hiccup") == []
    wiki.pages["Hiccup"] = WikiPage("A hiccup is a spasm.", 5)
    assert source.search("hiccup")
    assert source.page("Hiccup")


def test_with_an_age_of_0_each_revision_is_asked_for_and_no_text_twice(wiki: StandIn, tmp_path: Path) -> None:
    source = source_of(wiki, tmp_path, max_age=0)
    before = source.search("throat", k=9)
    wiki.asked.clear()
    assert source.search("throat", k=9) == before
    assert wiki.kinds == ["search", "info|pageprops"]
    assert set(wiki.asked[1]["titles"].split("|")) == {"Sore throat", "Heartburn"}

    wiki.pages["Heartburn"] = WikiPage("Heartburn burns in the throat, as is known now.", 2003)
    after = source.search("throat", k=9)
    assert {passage.revision for passage in before} == {2002, 3003}
    assert {passage.revision for passage in after} == {2003, 3003}
    assert "as is known now" in " ".join(passage.text for passage in after)


def aged(folder: Path, seconds: float) -> None:
    """Make every entry older."""
    for path in entries(folder):
        entry = json.loads(path.read_text())
        entry["stored"] -= seconds
        path.write_text(json.dumps(entry))


def test_after_its_age_one_small_request_tells_whether_a_page_changed(wiki: StandIn, tmp_path: Path) -> None:
    source = source_of(wiki, tmp_path, max_age=100)
    first = source.search("throat", k=9)
    kept = len(entries(tmp_path))
    aged(tmp_path, 101)
    wiki.asked.clear()
    assert source.search("throat", k=9) == first
    assert wiki.kinds == ["search", "info|pageprops"], "no text"

    aged(tmp_path, 101)
    wiki.asked.clear()
    wiki.pages["Heartburn"].revision += 1
    assert {passage.revision for passage in source.search("throat", k=9)} == {2003, 3003}
    assert wiki.kinds == ["search", "info|pageprops", "extracts|info|pageprops"]
    assert wiki.asked[-1]["titles"] == "Heartburn"
    assert len(entries(tmp_path)) == kept, "the text of the old revision is gone"


def test_a_page_that_was_deleted_or_moved(wiki: StandIn, tmp_path: Path) -> None:
    source = source_of(wiki, tmp_path, max_age=100)
    assert source.page("Croup")
    assert source.page("Sore throat")
    del wiki.pages["Croup"]
    wiki.redirects["Croup"] = "Sore throat"
    del wiki.redirects["Laryngotracheitis"]
    aged(tmp_path, 101)
    assert {passage.title for passage in source.page("Croup")} == {"Sore throat"}
    del wiki.pages["Sore throat"]
    aged(tmp_path, 101)
    assert source.page("Sore throat") == []
    wiki.pages["Sore throat"] = WikiPage("A sore throat is back.", 3004)
    assert source.page("Sore throat")[0].revision == 3004


def test_each_wiki_has_entries_of_its_own(wiki: StandIn, tmp_path: Path) -> None:
    source_of(wiki, tmp_path).page("Croup")
    source_of(wiki, tmp_path, language="de").page("Croup")
    assert len(wiki.asked) == 2
    with stand_in() as other:
        source_of(other, tmp_path).page("Croup")
        assert len(other.asked) == 1


def test_the_question_is_not_kept(wiki: StandIn, tmp_path: Path) -> None:
    source_of(wiki, tmp_path).search("Matilda Quibble of Nether Wallop has stridor")
    kept = " ".join(path.name + path.read_text().lower() for path in entries(tmp_path))
    assert "stridor" in kept, "the page is there"
    assert not any(word in kept for word in ("matilda", "quibble", "nether", "wallop"))


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_the_folder_is_for_its_owner_only(wiki: StandIn, tmp_path: Path) -> None:
    source_of(wiki, tmp_path / "deep" / "cache").page("Croup")
    assert (tmp_path / "deep" / "cache").stat().st_mode & 0o077 == 0


DAMAGES = {
    "empty": lambda path: path.write_bytes(b""),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:40]),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "not UTF-8": lambda path: path.write_bytes(b"\xff\xfe\x00"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "a value": lambda path: path.write_text("null"),
    "nested": lambda path: path.write_text("[" * 100_000),
    "other words": lambda path: path.write_text(
        path.read_text().replace("croup", "crowd").replace("Croup", "Crowd")
    ),
    "other version": lambda path: path.write_text(path.read_text().replace('"schema": 1', '"schema": 2')),
    "no time": lambda path: path.write_text(path.read_text().replace('"stored": ', '"stored": "x", "y": ')),
    "the future": lambda path: path.write_text(path.read_text().replace('"stored": ', '"stored": 9')),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_entry_is_fetched_again(wiki: StandIn, tmp_path: Path, damage: str) -> None:
    found = source_of(wiki, tmp_path).search("croup")
    for path in entries(tmp_path):
        DAMAGES[damage](path)
    assert source_of(wiki, tmp_path).search("croup") == found
    wiki.asked.clear()
    assert source_of(wiki, tmp_path).search("croup") == found
    assert wiki.asked == [], "and kept again"


@pytest.mark.parametrize("value", [["x"], {"title": "Croup", "other": 1}, [1, 2], "text", 7, {}])
def test_an_entry_of_another_shape_is_fetched_again(wiki: StandIn, tmp_path: Path, value: Any) -> None:
    source = source_of(wiki, tmp_path)
    found = source.page("Croup")
    for key in (("head", "Croup"), ("text", "Croup", 1001)):
        if key[0] == "text" and isinstance(value, str):
            continue
        source._cache.put(value, *key)
        assert source.page("Croup") == found


def test_a_folder_that_cannot_be_written_is_told_of_once(
    wiki: StandIn, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("no folder")
    source = source_of(wiki, tmp_path / "file" / "cache")
    assert source.search("croup")
    assert source.search("croup")
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1
    assert "Nothing is kept in the cache" in warnings[0]
    assert "croup" not in warnings[0]


def test_ages(tmp_path: Path) -> None:
    cache = WikipediaCache(tmp_path, ("en",))
    cache.put({"a": [1, "\ud800ä"]}, "key")
    assert cache.get("key") == {"a": [1, "\ud800ä"]}
    assert cache.get("key", max_age=60) == {"a": [1, "\ud800ä"]}
    assert cache.get("key", max_age=0) is None
    time.sleep(0.02)
    assert cache.get("key", max_age=0.01) is None
    assert WikipediaCache(tmp_path, ("de",)).get("key") is None
    cache.drop("key")
    cache.drop("key")
    assert cache.get("key") is None


def hammer(folder: Path, number: int) -> None:
    cache = WikipediaCache(folder, ("en",))
    for step in range(15):
        cache.put([number, step, "x" * 20_000], "shared")
        seen = cache.get("shared")
        assert seen is not None, "never half written"
        assert len(seen[2]) == 20_000
        cache.put(number, "own", number, step)
        assert cache.get("own", number, step) == number


def test_threads_and_processes_share_a_folder(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def run(number: int) -> None:
        try:
            hammer(tmp_path, number)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    context = multiprocessing.get_context("fork" if os.name == "posix" else "spawn")
    processes = [context.Process(target=hammer, args=(tmp_path, 100 + number)) for number in range(3)]
    for process in processes:
        process.start()
    threads = [threading.Thread(target=run, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for worker in [*threads, *processes]:
        worker.join(60)
    assert failures == []
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert len(entries(tmp_path)) == 1 + 6 * 15
    assert list(tmp_path.rglob(".*")) == []
