"""`chatdoctor corpus synthesize | polish | coq`, in this process; the teacher is a LangChain model made for tests."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chatdoctor_hub.cli.corpus_writing import corpus_app
from chatdoctor_hub.corpus import Corpus, split
from chatdoctor_hub.corpus.reading import read_dialogues
from chatdoctor_hub.corpus.writing import synthesize
from chatdoctor_hub.knowledge import DiseaseTable

# The teachers are described beside the tests of the room that uses them.
sys.path.append(str(Path(__file__).resolve().parents[1] / "corpus" / "writing"))

from teacher_fakes import FakeTeacher


def run(*arguments: object, code: int = 0) -> str:
    ended = CliRunner().invoke(corpus_app, [str(item) for item in arguments])
    assert ended.exit_code == code, ended.output
    return ended.output


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@pytest.fixture
def teacher(monkeypatch):
    pytest.importorskip("langchain")
    made = FakeTeacher(
        script={1: ["drug"], 2: ["test", "test", "test"]},
        polisher=lambda passages: [f"I understand how you feel. {passage}" for passage in passages],
    )
    monkeypatch.setattr("langchain.chat_models.init_chat_model", lambda name: made)
    return made


def test_synthesize_offline(tmp_path):
    out = tmp_path / "dialogues.jsonl"
    assert "12 dialogues in" in run("synthesize", "--n", 12, "--seed", 3, "--multi-turn", 0.5, "--out", out)
    wanted = synthesize(DiseaseTable.starter(), 12, 3, 0.5)
    assert [record["messages"] for record in lines(out)] == [item.to_messages() for item in wanted]
    assert list(tmp_path.iterdir()) == [out]
    read = read_dialogues(out)
    assert [item.digest for item in read] == [item.digest for item in wanted]


def test_synthesize_with_a_table(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("disease,Symptom\nGout,\"['joint pain', 'swelling']\"\n", encoding="utf-8")
    run("synthesize", "--table", table, "--n", 2, "--out", tmp_path / "d.jsonl")
    assert {record["topic"] for record in lines(tmp_path / "d.jsonl")} == {"Gout"}


def test_synthesize_with_a_teacher(tmp_path, teacher):
    out = tmp_path / "taught.jsonl"
    arguments = ("synthesize", "--n", 4, "--out", out, "--teacher", "fake:teacher", "--input-price", 1)
    said = run(*arguments)
    assert "3 of 4 accepted, 1 rejected" in said
    assert "tokens read" in said
    assert "rejected for test: 3 replies" in said
    assert {record["source"] for record in lines(out)} == {"teacher:fake-teacher"}
    assert len(lines(tmp_path / "taught.journal.jsonl")) == 7
    report = json.loads((tmp_path / "taught.report.json").read_text())
    assert report["prompt"] == "synthesis-teacher@1"
    assert report["cost"] == pytest.approx(7 * 100 / 1e6)
    before = len(teacher.prompts)
    assert "0 calls now, 7 replies from the journal" in run(*arguments)
    assert len(teacher.prompts) == before


def test_polish(tmp_path, teacher):
    run("synthesize", "--n", 3, "--out", tmp_path / "in.jsonl")
    said = run("polish", tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--teacher", "fake:teacher")
    assert "accepted" in said
    before, after = lines(tmp_path / "in.jsonl"), lines(tmp_path / "out.jsonl")
    assert len(before) == len(after) == 3
    assert all("I understand how you feel." in json.dumps(record["messages"]) for record in after)
    turns = lines(tmp_path / "out.turns.jsonl")
    assert all(turn["accepted"] and turn["before"] in turn["after"] for turn in turns)
    assert json.loads((tmp_path / "out.report.json").read_text())["accepted"] == len(turns)


def test_coq(tmp_path):
    run("synthesize", "--n", 40, "--multi-turn", 1, "--out", tmp_path / "in.jsonl")
    said = run("coq", tmp_path / "in.jsonl", tmp_path / "out.jsonl", "--target-questions", 0.5)
    samples = lines(tmp_path / "out.jsonl")
    labels = [sample["label"] for sample in samples]
    assert (
        f"{labels.count('question')} questions and {labels.count('suggestion')} suggestions (50.0 %" in said
    )
    assert all(sample["messages"][-1]["role"] == "assistant" for sample in samples)
    assert all(sample["messages"][0]["role"] == "user" for sample in samples)
    assert len(read_dialogues(tmp_path / "out.jsonl")) == len(samples)
    run("coq", tmp_path / "in.jsonl", tmp_path / "all.jsonl", "--all")
    assert len(lines(tmp_path / "all.jsonl")) > len(samples)


def test_coq_says_what_cannot_be_reached(tmp_path):
    run("synthesize", "--n", 5, "--multi-turn", 0, "--out", tmp_path / "in.jsonl")
    assert "cannot be reached" in run("coq", tmp_path / "in.jsonl", tmp_path / "out.jsonl")


def test_errors_are_one_sentence(tmp_path):
    pytest.importorskip("langchain")
    out = tmp_path / "out.jsonl"
    out.write_text("older\n")
    said = run("synthesize", "--n", 1, "--out", out, "--teacher", "nobody:nothing", code=2)
    assert "Expected the name of a chat model" in said
    assert "Expected" in run("coq", tmp_path / "missing.jsonl", out, code=2)
    said = run("synthesize", "--n", 1, "--out", out, "--teacher", "x", "--max-concurrency", 0, code=2)
    assert "max_concurrency: input should be greater than or equal to 1" in said
    assert out.read_text() == "older\n"
    assert list(tmp_path.iterdir()) == [out]


def test_a_teacher_by_name_needs_langchain(tmp_path, monkeypatch):
    for name in ("langchain", "langchain.chat_models"):
        monkeypatch.setitem(sys.modules, name, None)
    said = run("synthesize", "--n", 1, "--out", tmp_path / "d.jsonl", "--teacher", "x:y", code=2)
    assert "chatdoctor-hub[agents]" in " ".join(said.split())


def test_what_is_read_is_never_overwritten(tmp_path, teacher):
    run("synthesize", "--n", 20, "--out", tmp_path / "d.jsonl")
    before = (tmp_path / "d.jsonl").read_bytes()
    for verb in (("coq",), ("polish", "--teacher", "fake:teacher")):
        said = run(*verb, tmp_path / "d.jsonl", tmp_path / "d.jsonl", code=2)
        assert "name another OUT" in " ".join(said.split())
    assert (tmp_path / "d.jsonl").read_bytes() == before


def test_a_corpus_folder_is_read_too(tmp_path):
    corpus = Corpus.write(
        tmp_path / "corpus",
        split(synthesize(DiseaseTable.starter(), 40)),
        seed=0,
        sources=["x"],
        repairs={},
        problems=(),
    )
    run("coq", corpus.path, tmp_path / "samples.jsonl", "--all")
    assert len(lines(tmp_path / "samples.jsonl")) == sum(len(item.doctor_turns) for item in corpus.train)
