"""A build under datatrove's executors: the same bytes as on one machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_dialogues import faulty, record, write_lines

from chatdoctor_hub.corpus.building.build import build_corpus
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.building.parts import PartMaker
from chatdoctor_hub.corpus.building.scale import PartsStep, WholeStep, corpus_pipelines
from chatdoctor_hub.errors import DataError, DataFormatError, DataNotFoundError, LeakError, MissingExtraError

executors = pytest.importorskip("datatrove.executor")

Settings = Callable[..., CorpusConfig]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A build of two sources with faults, and an evaluation set that two of their records repeat."""
    sources = [
        write_lines(tmp_path / "one.jsonl", faulty(300)),
        write_lines(tmp_path / "two.jsonl", faulty(40)),
    ]
    evaluation = write_lines(tmp_path / "exam.jsonl", [record(30), record(1031), record(250)])

    def make(out: str, **changes: Any) -> CorpusConfig:
        values: dict[str, Any] = {
            "sources": sources,
            "out": tmp_path / out,
            "licence": "CC0-1.0",
            "deidentify": False,
            "leak_check": [evaluation],
            "on_leak": "drop",
            "shard_size": 60,
        }
        return CorpusConfig(**(values | changes))

    return make


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 32 records, so that a small build has many."""
    monkeypatch.setattr("chatdoctor_hub.corpus.building.build.PART_SIZE", 32)


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def run(config: CorpusConfig, logs: Path, tasks: int = 3, **options: Any) -> Any:
    """Both pipelines under the local executor; the statistics of the first."""
    clean, finish = corpus_pipelines(config)
    local = executors.LocalPipelineExecutor
    cleaned = local(clean, tasks=tasks, logging_dir=str(logs / "clean"), **options)
    stats = cleaned.run()
    local(finish, tasks=1, workers=1, logging_dir=str(logs / "finish"), depends=cleaned).run()
    return stats


@pytest.mark.parametrize("near_duplicates", [0.8, None])
def test_two_workers_write_the_same_bytes(
    settings: Settings, small_parts: None, tmp_path: Path, near_duplicates: float | None
) -> None:
    build_corpus(settings("alone", near_duplicates=near_duplicates))
    # Forked, so that they cut parts as small as this process does.
    config = settings("together", near_duplicates=near_duplicates)
    run(config, tmp_path / "logs", workers=2, start_method="fork")
    expected = content(tmp_path / "alone")
    assert len(expected) > 6
    assert content(tmp_path / "together") == expected
    assert not list(tmp_path.glob(".*.build")), "the hidden folder is gone"


def test_new_processes(settings: Settings, tmp_path: Path) -> None:
    """Started as on other machines, with nothing but the pickled steps."""
    build_corpus(settings("alone"))
    run(settings("together"), tmp_path / "logs", tasks=2, workers=2)
    assert content(tmp_path / "together") == content(tmp_path / "alone")


@pytest.mark.slow
def test_de_identification_in_new_processes(settings: Settings, tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    source = write_lines(
        tmp_path / "named.jsonl",
        [
            item | {"output": f"Dear Anna Miller, {item['output']} Call +44 20 7946 0958. Dr. James Brown"}
            for item in map(record, range(60))
        ],
    )
    changes = {"sources": [source], "deidentify": True}
    corpus = build_corpus(settings("alone", **changes))
    assert corpus.info["changes"]["deidentify"]
    run(settings("together", **changes), tmp_path / "logs", tasks=2, workers=2)
    assert content(tmp_path / "together") == content(tmp_path / "alone")


def test_the_work_is_shared_out(
    settings: Settings, small_parts: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each part is made by its task, none when the build begins or is finished."""
    made: list[int] = []
    make = PartMaker.make

    def noted(self: PartMaker, number: int, *rest: Any) -> Any:
        made.append(number)
        return make(self, number, *rest)

    monkeypatch.setattr(PartMaker, "make", noted)
    clean, finish = corpus_pipelines(settings("corpus"))
    assert made == []
    for rank, own in enumerate(([0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11])):
        made.clear()
        clean[0](None, rank, 3)
        assert made == own
    made.clear()
    clean[0](None, 1, 3)
    assert made == [], "a task that is run again has nothing to do"
    finish[0](None, 1, 2)
    assert not (tmp_path / "corpus").exists()
    finish[0](None, 0, 2)
    assert made == []
    assert (tmp_path / "corpus" / "corpus.json").is_file()
    assert clean[0].stats["read"].total == 368


def test_a_task_that_was_lost_is_made_up_for(settings: Settings, small_parts: None, tmp_path: Path) -> None:
    build_corpus(settings("alone"))
    clean, finish = corpus_pipelines(settings("together"))
    clean[0](None, 1, 3)
    finish[0]()
    assert content(tmp_path / "together") == content(tmp_path / "alone")


def test_it_goes_on_where_it_was(settings: Settings, small_parts: None, tmp_path: Path) -> None:
    clean, _ = corpus_pipelines(settings("corpus"))
    clean[0](None, 0, 2)
    parts = tmp_path / ".corpus.build" / "parts"
    before = {path.name: path.stat().st_mtime_ns for path in parts.iterdir() if path.is_dir()}
    corpus_pipelines(settings("corpus"))
    after = {path.name: path.stat().st_mtime_ns for path in parts.iterdir() if path.is_dir()}
    assert len(before) == 6
    assert before == after


def test_the_number_of_records_is_told_to_datatrove(
    settings: Settings, small_parts: None, tmp_path: Path
) -> None:
    stats = run(settings("corpus"), tmp_path / "logs", tasks=2, workers=1)
    [step] = stats.stats
    assert step["read"].total == 368


def test_other_sources_than_the_build_began_with(
    settings: Settings, small_parts: None, tmp_path: Path
) -> None:
    clean, _ = corpus_pipelines(settings("corpus"))
    write_lines(tmp_path / "two.jsonl", faulty(50))
    with pytest.raises(DataFormatError, match="begun with the sources that are here, found others"):
        clean[0](None, 0, 2)
    with pytest.raises(DataFormatError, match="found none begun; begin it where"):
        PartsStep(settings("never"))(None, 0, 1)


def test_faults_are_told_before_anything_is_handed_out(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(DataNotFoundError):
        corpus_pipelines(settings("corpus", sources=[tmp_path / "nowhere.jsonl"]))


def test_a_leak_stops_the_last_task(settings: Settings, small_parts: None) -> None:
    clean, finish = corpus_pipelines(settings("corpus", on_leak="stop"))
    clean[0]()
    with pytest.raises(LeakError, match="found 2"):
        finish[0]()


@pytest.mark.parametrize("kind", ["a fault of ours", "another"])
def test_logs_hold_no_words(
    settings: Settings,
    small_parts: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    kind: str,
) -> None:
    """datatrove writes the values of variables beside the lines of a traceback."""
    clean, _ = corpus_pipelines(settings("corpus"))
    words = record(40)["input"]

    def fail(self: PartMaker, number: int, source: str, records: list[Any]) -> Any:
        try:
            return int(str(records[0]) + words)
        except ValueError as error:
            if kind == "another":
                raise
            raise DataFormatError("Expected a number, found none; give one.") from error

    monkeypatch.setattr(PartMaker, "make", fail)
    local = executors.LocalPipelineExecutor(clean, tasks=1, workers=1, logging_dir=str(tmp_path / "logs"))
    expected = (
        "found none; give one" if kind != "another" else r"found ValueError at test_scale\.py:\d+; build with"
    )
    with pytest.raises(DataError, match=expected):
        local.run()
    shown = capfd.readouterr()
    logs = [file.read_text("utf-8") for file in (tmp_path / "logs").rglob("*") if file.is_file()]
    assert any("Traceback" in log for log in logs), "the error is logged"
    for text in (*logs, shown.out, shown.err):
        assert "what hurts is" not in text
        assert words[:20] not in text


@pytest.mark.parametrize("step", [PartsStep, WholeStep])
def test_without_datatrove(
    step: Callable[[CorpusConfig], Any], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datatrove.utils.stats", None)
    with pytest.raises(MissingExtraError, match=r"chatdoctor-hub\[scale\]"):
        step(settings("corpus"))
