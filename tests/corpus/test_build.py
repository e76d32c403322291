"""`build_corpus`: every record is kept or left out for a reason, the same bytes whoever makes them."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from raw_dialogues import faulty, record, write_lines

from chatdoctor_hub.corpus import (
    Corpus,
    Deidentifier,
    deidentify,
    normalize,
    normalize_text,
    plan_corpus,
    read_dialogues,
    split,
    stream_dialogues,
)
from chatdoctor_hub.corpus.building.build import BuildProgress, begin_build, build_corpus, make_parts
from chatdoctor_hub.corpus.building.config import CorpusConfig
from chatdoctor_hub.corpus.building.parts import PartMaker
from chatdoctor_hub.errors import (
    ConfigError,
    DataError,
    DataFormatError,
    DataNotFoundError,
    DiskSpaceError,
    LeakError,
    MissingExtraError,
)


@pytest.fixture
def config(tmp_path: Path) -> Callable[..., CorpusConfig]:
    """The settings of a build of 320 records with faults, without de-identification unless asked for."""
    source = write_lines(tmp_path / "raw.jsonl", faulty(300))

    def make(**changes: Any) -> CorpusConfig:
        values: dict[str, Any] = {
            "sources": [source],
            "out": tmp_path / "made" / "corpus",
            "licence": "CC0-1.0",
            "deidentify": False,
        }
        return CorpusConfig(**(values | changes))

    return make


def content(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def rejected(corpus: Corpus) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(corpus.path / "rejected.parquet").to_pylist()
    return rows


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 32 records, so that a small build has many."""
    monkeypatch.setattr("chatdoctor_hub.corpus.building.build.PART_SIZE", 32)


def test_every_record_is_kept_or_left_out_for_a_reason(
    config: Callable[..., CorpusConfig], small_parts: None
) -> None:
    corpus = build_corpus(config())
    info = corpus.info
    assert info["counts"] == {
        "read": 314,
        "kept": 300,
        "rejected": {
            "duplicates": {"exact": 4, "near": 5},
            "length": {"fewer than 3 words of the patient": 3},
            "read": info["counts"]["rejected"]["read"],
        },
    }
    assert list(info["counts"]["rejected"]["read"].values()) == [2]
    assert info["repairs"]["leaked_turns_cut"] == 6
    assert info["dialogues"] == {"train": 270, "validation": 15, "test": 15}
    assert info["turns"] == {"train": 540, "validation": 30, "test": 30}
    assert info["licence"] == "CC0-1.0"
    assert [(one["name"], one["read"], one["kept"]) for one in info["sources"]] == [("raw.jsonl", 314, 300)]
    corpus.verify()
    assert Corpus.open(corpus.path) == corpus


def test_what_was_left_out_is_listed_without_its_words(config: Callable[..., CorpusConfig]) -> None:
    corpus = build_corpus(config())
    rows = rejected(corpus)
    assert [row["step"] for row in rows] == ["read"] * 2 + ["length"] * 3 + ["duplicates"] * 9
    assert [row["record"] for row in rows[:2]] == [301, 302]
    assert [row["id"] for row in rows[2:]] == [str(number) for number in range(303, 315)]
    assert [row["other"] for row in rows[5:]] == [
        f"raw.jsonl {n}" for n in (11, 12, 13, 14, 21, 22, 23, 24, 25)
    ]
    assert {row["source"] for row in rows} == {"raw.jsonl"}
    told = (
        json.dumps(rows) + (corpus.path / "README.md").read_text() + (corpus.path / "corpus.json").read_text()
    )
    for word in ("hurts", "Goodbye", "Hello"):
        assert word not in told


def test_no_work_is_left_beside_the_corpus(config: Callable[..., CorpusConfig]) -> None:
    corpus = build_corpus(config())
    assert [path.name for path in corpus.path.parent.iterdir()] == ["corpus"]


def test_the_splits_are_those_of_split(config: Callable[..., CorpusConfig], small_parts: None) -> None:
    settings = config(near_duplicates=None, min_words=1, seed=5, validation=0.1, test=0.2, shard_size=17)
    corpus = build_corpus(settings)
    splits = split(read_dialogues(settings.sources[0].path), 5, validation=0.1, test=0.2)
    assert corpus.digest == splits.digest
    assert (corpus.train, corpus.validation, corpus.test) == (splits.train, splits.validation, splits.test)
    assert len(corpus.info["files"]) > 15


def test_the_same_bytes_from_one_process_or_two(
    config: Callable[..., CorpusConfig], small_parts: None, tmp_path: Path
) -> None:
    one = build_corpus(config(shard_size=40))
    two = build_corpus(config(shard_size=40, out=tmp_path / "two", workers=2))
    assert content(one.path) == content(two.path)


def test_parts_of_any_size_give_the_same_bytes(
    config: Callable[..., CorpusConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = build_corpus(config())
    monkeypatch.setattr("chatdoctor_hub.corpus.building.build.PART_SIZE", 7)
    assert content(one.path) == content(build_corpus(config(out=tmp_path / "two")).path)


def test_sources_come_in_order_and_repeat_one_another(
    config: Callable[..., CorpusConfig], tmp_path: Path
) -> None:
    (tmp_path / "more").mkdir()
    more = write_lines(tmp_path / "more" / "raw.jsonl", [record(number) for number in range(290, 330)])
    sources = [config().sources[0], more]
    corpus = build_corpus(config(sources=sources))
    assert [(one["name"], one["kept"]) for one in corpus.info["sources"]] == [
        ("raw.jsonl", 300),
        ("raw.jsonl (2)", 30),
    ]
    corpus = build_corpus(config(sources=sources[::-1]))
    assert [one["kept"] for one in corpus.info["sources"]] == [40, 290]


def test_near_duplicates_stay_unless_they_are_looked_for(config: Callable[..., CorpusConfig]) -> None:
    corpus = build_corpus(config(near_duplicates=None))
    assert corpus.info["counts"]["rejected"]["duplicates"] == {"exact": 4}
    assert "not looked for" in (corpus.path / "README.md").read_text()


def test_patients_stay_together(config: Callable[..., CorpusConfig], tmp_path: Path) -> None:
    source = write_lines(tmp_path / "visits.jsonl", [record(n) | {"id": f"p{n // 3}"} for n in range(300)])
    corpus = build_corpus(config(sources=[source], split_by="patient"))
    homes = [{item.id for item in corpus.stream(name)} for name in ("train", "validation", "test")]
    assert sum(map(len, homes)) == 100 == len(set.union(*homes))
    assert corpus.info["dialogues"] == {"train": 270, "validation": 15, "test": 15}
    apart = build_corpus(config(sources=[source]))
    homes = [{item.id for item in apart.stream(name)} for name in ("train", "validation", "test")]
    assert sum(map(len, homes)) > 100


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    """Three records of the source, one of them edited, and one that is not in it."""
    edited = record(31)
    edited["output"] += " Then come back."
    return write_lines(tmp_path / "held_out.jsonl", [record(30), edited, record(32), record(5_000)])


def test_a_leak_stops_the_build_and_says_where(config: Callable[..., CorpusConfig], evaluation: Path) -> None:
    with pytest.raises(
        LeakError, match=r"found 3: raw.jsonl 31 repeats held_out.jsonl 1 \(exact, 1.00\)"
    ) as told:
        build_corpus(config(leak_check=[evaluation]))
    assert "raw.jsonl 32 repeats held_out.jsonl 2" in str(told.value)
    assert "hurts" not in str(told.value)
    assert not Path(config().out).exists()


def test_leaks_are_left_out_or_reported(
    config: Callable[..., CorpusConfig], evaluation: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LeakError):
        build_corpus(config(leak_check=[evaluation]))
    with monkeypatch.context() as patch:
        # What the stopped build had cleaned is not cleaned again.
        patch.setattr(PartMaker, "make", None)
        corpus = build_corpus(config(leak_check=[evaluation], on_leak="drop"))
    assert corpus.info["counts"]["kept"] == 297
    assert corpus.info["leak_check"] == {
        "sources": ["held_out.jsonl"],
        "dialogues": 4,
        "threshold": 0.8,
        "on_leak": "drop",
        "found": 3,
    }
    assert [(row["id"], row["other"]) for row in rejected(corpus) if row["step"] == "leaks"] == [
        ("31", "held_out.jsonl 1"),
        ("32", "held_out.jsonl 2"),
        ("33", "held_out.jsonl 3"),
    ]
    kept = build_corpus(config(leak_check=[evaluation], on_leak="report"))
    assert (kept.info["counts"]["kept"], kept.info["leak_check"]["found"]) == (300, 3)


def test_another_evaluation_set_is_another_check(
    config: Callable[..., CorpusConfig], evaluation: Path, tmp_path: Path
) -> None:
    dropped = build_corpus(config(leak_check=[evaluation], on_leak="drop"))
    assert dropped.info["leak_check"]["found"] == 3
    other = write_lines(tmp_path / "other.jsonl", [record(40)])
    dropped = build_corpus(config(leak_check=[other], on_leak="drop"))
    assert [row["id"] for row in rejected(dropped) if row["step"] == "leaks"] == ["41"]


def test_a_full_disk_is_told(config: Callable[..., CorpusConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for place in ("parts.write_arrow", "layout.write_parquet"):
        with monkeypatch.context() as patch:
            patch.setattr(f"chatdoctor_hub.corpus.building.{place}", full)
            with pytest.raises(DiskSpaceError, match="found the disk full"):
                build_corpus(config())
        assert not Path(config().out).exists()
    build_corpus(config())


def test_a_missing_extra_is_told_before_anything_is_read(
    config: Callable[..., CorpusConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(MissingExtraError, match="deidentify"):
        build_corpus(config(sources=["none.jsonl"], deidentify=True, workers=2))


def test_progress_is_told(config: Callable[..., CorpusConfig], small_parts: None) -> None:
    told: list[BuildProgress] = []
    build_corpus(config(), on_progress=told.append)
    assert list(dict.fromkeys(one.step for one in told)) == [
        "reading and cleaning",
        "comparing",
        "sorting",
        "writing",
    ]
    done = [one.done for one in told if one.step == "reading and cleaning"]
    assert (len(done), done[-1]) == (10, 314)
    assert [(one.done, one.total) for one in told][-1] == (300, 300)


def test_strict_stops_at_the_first_unusable_record(config: Callable[..., CorpusConfig]) -> None:
    with pytest.raises(DataFormatError, match="301"):
        build_corpus(config(strict=True))


def test_nothing_to_train_on(config: Callable[..., CorpusConfig], tmp_path: Path) -> None:
    few = write_lines(tmp_path / "few.jsonl", [record(number) for number in range(4)])
    with pytest.raises(DataFormatError, match="at least 10 dialogues that open with different"):
        build_corpus(config(sources=[few]))
    with pytest.raises(DataFormatError, match="at least 1 dialogue"):
        build_corpus(config(sources=[few], validation=0.0, test=0.0, min_words=500))


def test_a_folder_of_something_else_is_refused_before_anything_is_read(
    config: Callable[..., CorpusConfig], tmp_path: Path
) -> None:
    out = tmp_path / "thesis"
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")
    with pytest.raises(DataFormatError, match="found a folder of other files"):
        build_corpus(config(out=out))
    assert content(out) == {"thesis.tex": b"years of work"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    with pytest.raises(DataError, match="choose a place that you may write to"):
        build_corpus(config(out=out / "thesis.tex" / "corpus"))


def test_a_changed_cleaner_gives_other_counts(config: Callable[..., CorpusConfig]) -> None:
    corpus = build_corpus(config(max_words=38))
    assert corpus.info["counts"]["rejected"]["length"]["more than 38 words"] > 0
    with pytest.raises(DataFormatError, match="found 0 in 0"):
        build_corpus(config(max_words=6))


def test_the_published_records(shared_data: Path, config: Callable[..., CorpusConfig]) -> None:
    file = shared_data / "chatdoctor" / "genmedgpt_4000.json"
    corpus = build_corpus(config(sources=[file], max_words=None))
    counts, repairs = corpus.info["counts"], corpus.info["repairs"]
    assert counts["read"] == 4000
    assert repairs["leaked_turns_cut"] + repairs.get("leaked_turns_split", 0) >= 106
    assert not any("Patient:" in turn.content for item in corpus.train for turn in item.doctor_turns)
    assert counts["kept"] + sum(sum(kinds.values()) for kinds in counts["rejected"].values()) == 4000
    assert counts["kept"] > 3950


def test_it_needs_no_guard_and_no_network_in_a_plain_script(
    config: Callable[..., CorpusConfig], tmp_path: Path
) -> None:
    settings = config()
    script = (
        "from chatdoctor_hub.corpus.building.build import build_corpus\n"
        "from chatdoctor_hub.corpus.building.config import CorpusConfig\n"
        f"print(build_corpus(CorpusConfig(sources=[{settings.sources[0].path!r}], out={str(tmp_path / 'x')!r}, "
        "licence='unknown', deidentify=False)).digest)"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == build_corpus(settings).digest


@pytest.mark.parametrize("wrong", [None, {}, 3, "corpus.yaml", [1]])
@pytest.mark.parametrize(
    "verb", [build_corpus, begin_build, plan_corpus, lambda wrong: list(make_parts(wrong))]
)
def test_what_is_no_config(verb: Callable[[Any], Any], wrong: Any) -> None:
    with pytest.raises(ConfigError, match=f"Expected a CorpusConfig, found {type(wrong).__name__}; make one"):
        verb(wrong)


@pytest.mark.parametrize("wrong", [None, {}, 3, [1], b"x"])
def test_other_arguments_of_a_wrong_type(wrong: Any) -> None:
    for call in (deidentify, Deidentifier().dialogue, normalize_text, normalize):
        with pytest.raises(DataFormatError, match=f"found {type(wrong).__name__}; "):
            call(wrong)
    for call in (stream_dialogues, read_dialogues, Corpus.open):
        with pytest.raises(DataFormatError, match=f"found {type(wrong).__name__}; name the"):
            call(wrong)


def test_a_build_keeps_apart_from_its_sources_wherever_home_and_links_lead(
    config: Callable[..., CorpusConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").mkdir()
    raw = write_lines(tmp_path / "raw" / "raw.jsonl", [record(1)])
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "link").symlink_to(tmp_path / "raw")
    for source, out in (("~/raw", raw.parent / "x"), (raw.parent, "~/raw/x"), (tmp_path / "link", "~/raw")):
        with pytest.raises(ConfigError, match="one inside the other"):
            plan_corpus(config(sources=[source], out=out))
    with pytest.raises(DataNotFoundError, match="a path that no file can have"):
        plan_corpus(config(sources=["a\0b.jsonl"]))


def test_a_build_that_fails_says_where_its_work_is(
    config: Callable[..., CorpusConfig], tmp_path: Path
) -> None:
    evaluation = write_lines(tmp_path / "exam.jsonl", [record(3)])
    with pytest.raises(LeakError) as told:
        build_corpus(config(leak_check=[evaluation], out=tmp_path / "corpus"))
    place = tmp_path / ".corpus.build"
    assert place.is_dir()
    assert str(told.value).endswith(f"; what was made so far is kept in {place} until a build succeeds.")
    with pytest.raises(DataNotFoundError) as early:
        build_corpus(config(sources=["none.jsonl"], out=tmp_path / "other"))
    assert "kept in" not in str(early.value)
    assert not (tmp_path / ".other.build").exists()


def test_a_build_is_begun_made_in_parts_and_ended(
    config: Callable[..., CorpusConfig], small_parts: None, tmp_path: Path
) -> None:
    alone = content(build_corpus(config(out=tmp_path / "alone")).path)
    begun = config(out=tmp_path / "shared")
    begin_build(begun)
    made = [[part.folder.name for part in make_parts(begun, rank, 3)] for rank in range(3)]
    assert [names[:2] for names in made] == [["000000", "000003"], ["000001", "000004"], ["000002", "000005"]]
    assert list(make_parts(begun)) == []
    assert content(build_corpus(begun).path) == alone
