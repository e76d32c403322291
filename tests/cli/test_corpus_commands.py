"""`chatdoctor corpus build | show | leaks | audit`: thin, honest, and silent about what people said."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from chatdoctor_hub.cli.corpus import corpus_app
from chatdoctor_hub.corpus import Corpus
from chatdoctor_hub.errors import ConfigError

# The raw dialogues are described beside the tests of builds.
sys.path.append(str(Path(__file__).resolve().parents[1] / "corpus"))
from raw_dialogues import faulty, record, write_lines


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(corpus_app, [str(one) for one in arguments], env={"COLUMNS": "200"})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "raw.jsonl", faulty(60))


@pytest.fixture
def config(tmp_path: Path, source: Path) -> Path:
    file = tmp_path / "corpus.yaml"
    settings = {
        "sources": [str(source)],
        "out": str(tmp_path / "made"),
        "licence": "CC0-1.0",
        "deidentify": False,
    }
    file.write_text(yaml.safe_dump(settings), "utf-8")
    return file


def test_build_says_what_it_did(config: Path, tmp_path: Path) -> None:
    told = call("build", config)
    assert told.exit_code == 0, told.output
    corpus = Corpus.open(tmp_path / "made")
    assert corpus.info["counts"]["kept"] == 60
    for line in (
        "raw.jsonl",
        "1. read the sources",
        "74 records read = 60 kept + 14 left out",
        f"licence CC0-1.0, digest {corpus.digest}",
        "duplicates  near",
        "leaked_turns_cut",
    ):
        assert line in told.output
    assert "hurts" not in told.output


def test_a_dry_run_writes_nothing(config: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    told = call("build", config, "--dry-run")
    assert told.exit_code == 0
    assert "replace names" not in told.output
    assert "divide by dialogue: 5.0% to validate, 5.0% to test" in told.output
    assert "read" in told.output
    assert sorted(tmp_path.iterdir()) == before


def test_settings_come_from_options_too(source: Path, config: Path, tmp_path: Path) -> None:
    told = call(
        "build", "--source", source, "--out", tmp_path / "other", "--set", "licence=MIT", "--set", "seed=3",
        "--set", "deidentify=false", "--set", "near_duplicates=null",
    )  # fmt: skip
    assert told.exit_code == 0, told.output
    info = Corpus.open(tmp_path / "other").info
    assert (info["licence"], info["seed"], info["config"]["near_duplicates"]) == ("MIT", 3, None)
    told = call("build", config, "--out", tmp_path / "third", "--set", "validation=0", "--dry-run")
    assert told.exit_code == 0
    assert "0.0% to validate" in told.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["build"], "licence: missing (of the result, as the data card states it; or 'unknown')"),
        (["build", "none.yaml"], "expected the settings of a corpus in YAML"),
        (["build", "--set", "seed"], "Expected --set key=value"),
        (["build", "--set", "seed=["], "Expected --set key=value"),
        (["build", "--set", "sead=1"], "did you mean 'seed'?"),
        (["build", "--source", "none.jsonl", "--out", "x", "--set", "licence=MIT"], "none.jsonl"),
        (["show", "none"], "Expected a corpus folder"),
        (["leaks", "none.jsonl", "none.jsonl"], "none.jsonl"),
    ],
)
def test_faults_are_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = call(*arguments)
    assert told.exit_code == 2
    assert said in " ".join(told.output.split())
    assert "Traceback" not in told.output
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where(tmp_path: Path) -> None:
    assert isinstance(call("build", "--debug").exception, ConfigError)


def test_strict_stops(config: Path, tmp_path: Path) -> None:
    told = call("build", config, "--strict")
    assert told.exit_code == 2
    assert "found record 61 (line 61)" in told.output
    assert not (tmp_path / "made").exists()


def test_show_is_the_summary_again(config: Path, tmp_path: Path) -> None:
    built = call("build", config).output
    told = call("show", tmp_path / "made")
    assert told.exit_code == 0
    assert built.endswith(told.output)
    (tmp_path / "made" / "rejected.parquet").write_bytes(b"")
    assert call("show", tmp_path / "made").exit_code == 2
    assert call("show", tmp_path / "made", "--no-verify").exit_code == 2


def test_leaks_are_named_by_their_ids(source: Path, tmp_path: Path, config: Path) -> None:
    held_out = write_lines(tmp_path / "held_out.jsonl", [record(3), record(999)])
    told = call("leaks", source, held_out)
    assert told.exit_code == 1
    assert "raw.jsonl 4" in told.output
    assert "held_out.jsonl 1" in told.output
    assert "1 leaks" in told.output
    assert "foreseen" not in told.output
    assert "hurts" not in told.output
    clean = call("leaks", source, write_lines(tmp_path / "clean.jsonl", [record(999)]))
    assert (clean.exit_code, clean.output.strip()) == (0, "0 leaks")
    call("build", config)
    assert call("leaks", tmp_path / "made", held_out, "--threshold", "0.9").exit_code == 1


def test_a_leak_stops_a_build(config: Path, tmp_path: Path) -> None:
    held_out = write_lines(tmp_path / "held_out.jsonl", [record(3)])
    told = call("build", config, "--set", f"leak_check={json.dumps([str(held_out)])}")
    assert told.exit_code == 2
    assert "raw.jsonl 4 repeats held_out.jsonl 1" in " ".join(told.output.split())
    told = call("build", config, "--set", f"leak_check={held_out}", "--set", "on_leak=drop")
    assert told.exit_code == 0
    assert "1 dialogues repeat one of 1 evaluation records (drop)" in told.output


def test_audit_measures_planted_identifiers() -> None:
    told = call("audit", "--n", "100", "--json")
    report = json.loads(told.output)
    assert (report["n"], report["seed"]) == (100, 0)
    assert told.exit_code == (1 if report["failures"] else 0)
    assert "clean sentences" in call("audit", "--n", "100").output
    assert call("audit", "--n", "1").exit_code == 2


def test_audit_counts_what_is_in_data(tmp_path: Path) -> None:
    items = [record(number) for number in range(3)]
    items[0]["input"] += " Write to one@example.org or two@example.org."
    told = call("audit", write_lines(tmp_path / "raw.jsonl", items), "--json")
    assert told.exit_code == 0
    counted = json.loads(told.output)
    assert (counted["dialogues"], counted["changed"]) == (3, 1)
    assert sum(counted["by_kind"].values()) == 2
    assert "example" not in told.output


def test_evaluation_sets_are_compared_whole(source: Path, tmp_path: Path) -> None:
    """Their test files above all: a name that tells a split must not hide the others."""
    held_out = tmp_path / "held_out"
    held_out.mkdir()
    write_lines(held_out / "test.jsonl", [record(3)])
    write_lines(held_out / "train.jsonl", [record(999)])
    assert call("leaks", source, held_out).exit_code == 1
    made = call(
        "build",
        "--source",
        source,
        "--out",
        tmp_path / "c",
        "--set",
        "licence=unknown",
        "--set",
        f"leak_check={held_out}",
    )
    assert made.exit_code == 2
    assert "repeat" in made.output


def test_a_build_keeps_apart_from_what_it_reads(source: Path, tmp_path: Path, config: Path) -> None:
    inside = source.parent
    told = call("build", "--source", inside, "--out", inside / "made", "--set", "licence=unknown")
    assert (told.exit_code, "one inside the other" in told.output.replace("\n", " ")) == (2, True)
    call("build", config)
    before = sorted((tmp_path / "made").rglob("*"))
    eaten = call(
        "build",
        "--source",
        tmp_path / "made" / "data",
        "--out",
        tmp_path / "made",
        "--set",
        "licence=unknown",
    )
    assert eaten.exit_code == 2
    assert sorted((tmp_path / "made").rglob("*")) == before


def test_leaks_as_json_are_all_there(source: Path, tmp_path: Path) -> None:
    held_out = write_lines(tmp_path / "held_out.jsonl", [record(number) for number in range(25)])
    listed = call("leaks", source, held_out, "--json")
    assert listed.exit_code == 1
    found = json.loads(listed.output)
    assert (found["threshold"], found["found"]) == (0.8, len(found["leaks"]))
    assert found["found"] >= 25
    assert found["leaks"][3] == {
        "training_id": "raw.jsonl 4",
        "evaluation_id": "held_out.jsonl 4",
        "similarity": 1.0,
        "kind": "exact",
        "part": "question",
    }
    told = call("leaks", source, held_out)
    assert f"… and {found['found'] - 20} more pairs, which --json lists" in told.output
    assert "hurts" not in listed.output
    none = call("leaks", source, write_lines(tmp_path / "clean.jsonl", [record(999)]), "--json")
    assert (none.exit_code, json.loads(none.output)["leaks"]) == (0, [])


def test_leaks_of_a_de_identified_corpus_are_found(tmp_path: Path) -> None:
    pytest.importorskip("presidio_analyzer")
    items = [record(number) for number in range(30)]
    for number, item in enumerate(items):
        item["input"] += f" I am Anna Miller, anna.miller{number}@example.org, 07700 900{number + 100}."
    raw = write_lines(tmp_path / "raw.jsonl", items)
    told = call("build", "--source", raw, "--out", tmp_path / "made", "--set", "licence=MIT")
    assert told.exit_code == 0, told.output
    held_out = write_lines(tmp_path / "held_out.jsonl", [items[4]])
    found = json.loads(call("leaks", tmp_path / "made", held_out, "--json").output)["leaks"]
    assert [(leak["training_id"], leak["kind"]) for leak in found] == [("raw.jsonl 5", "exact")]


def test_what_is_not_read_of_a_folder_is_said(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "published"
    folder.mkdir()
    for name in ("train", "test", "validation"):
        (folder / f"{name}.jsonl").write_bytes(source.read_bytes())
    told = call("build", "--source", folder, "--out", tmp_path / "c", "--set", "licence=MIT", "--dry-run")
    assert "published: read: train, 1 of 3 files" in told.output


def test_a_build_that_is_stopped_says_where_its_work_is(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chatdoctor_hub.corpus.building.build.decide", stop)
    told = call("build", config)
    assert told.exit_code == 130
    assert f"kept in {tmp_path / '.made.build'} until a build succeeds" in told.output
    assert "goes on where it stopped" in told.output
