"""What bad input gets: exit status 2, one sentence on standard error, no traceback, nothing half-written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Ended = subprocess.CompletedProcess[str]
Call = Callable[..., Ended]


def refused(ended: Ended, *parts: str) -> None:
    """One sentence that says what was expected, what was found, and all the given parts."""
    assert ended.returncode == 2, (ended.stdout, ended.stderr)
    lines = ended.stderr.splitlines()
    assert len(lines) == 1, ended.stderr
    said = lines[0]
    assert said.startswith("chatdoctor: ")
    assert "xpected" in said
    assert "found" in said
    assert said.endswith(".")
    for part in parts:
        assert part in said
    assert "Traceback" not in ended.stdout + ended.stderr


def nothing_but(folder: Path, *names: str) -> None:
    assert {path.name for path in folder.iterdir()} <= set(names)


def test_a_knowledge_file_that_is_missing(chatdoctor: Call, tmp_path: Path) -> None:
    refused(chatdoctor("quickstart", "--out", "q", "--knowledge", "gone.csv"), "gone.csv", "check the path")
    nothing_but(tmp_path)


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"name,age\nMr Smith,42\n", "name,age"),
        (b"", "an empty file"),
        (b"idx,disease,Symptom,reason,TestsAndProcedures,commonMedications\n", "row"),
        (b"PK\x03\x04\x00\x00\xff\xfe", "table.csv"),
    ],
    ids=["another layout", "empty file", "header only", "a spreadsheet's zip"],
)
def test_a_table_that_is_none(content: bytes, part: str, chatdoctor: Call, tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_bytes(content)
    ended = chatdoctor("quickstart", "--out", "q", "--knowledge", "table.csv")
    refused(ended, "table.csv", part)
    assert "Mr Smith" not in ended.stderr
    nothing_but(tmp_path, "table.csv")


def test_a_knowledge_file_that_is_a_folder(chatdoctor: Call, tmp_path: Path) -> None:
    refused(chatdoctor("quickstart", "--out", "q", "--knowledge", "."), "folder")
    nothing_but(tmp_path)


def test_dialogues_in_which_no_doctor_speaks(chatdoctor: Call, tmp_path: Path) -> None:
    message = {"role": "user", "content": "SECRET-WORDS"}
    (tmp_path / "silent.jsonl").write_text(json.dumps({"messages": [message]}) + "\n", encoding="utf-8")
    ended = chatdoctor("quickstart", "--out", "q", "--dialogues", "silent.jsonl")
    refused(ended, "silent.jsonl", "doctor")
    assert "SECRET-WORDS" not in ended.stdout + ended.stderr
    nothing_but(tmp_path, "silent.jsonl", "q")
    nothing_but(tmp_path / "q", "knowledge", "steps.json")


def test_dialogues_that_are_missing(chatdoctor: Call) -> None:
    refused(chatdoctor("quickstart", "--out", "q", "--dialogues", "gone.json"), "gone.json")


@pytest.mark.parametrize("base", ["no-such-org/no-such-model", "./gone", ""])
def test_a_base_that_does_not_exist_is_told_before_anything_is_made(
    base: str, chatdoctor: Call, tmp_path: Path
) -> None:
    refused(chatdoctor("quickstart", "--out", "q", "--base", base), base)
    nothing_but(tmp_path)


def test_an_out_that_is_a_file(chatdoctor: Call, tmp_path: Path) -> None:
    (tmp_path / "q").write_text("years of work", encoding="utf-8")
    refused(chatdoctor("quickstart", "--out", "q"), "q: ", "a file")
    assert (tmp_path / "q").read_text(encoding="utf-8") == "years of work"


@pytest.mark.parametrize("command", ["chat", "quickstart"])
def test_a_seed_or_a_temperature_that_makes_no_sense(command: str, chatdoctor: Call) -> None:
    wrong = (
        ("quickstart", "--seed", "-1") if command == "quickstart" else ("chat", "x", "--temperature", "-1")
    )
    ended = chatdoctor(*wrong)
    assert ended.returncode == 2
    assert wrong[-2] in ended.stderr
    assert "Traceback" not in ended.stderr


def test_chat_with_a_folder_that_is_no_release(chatdoctor: Call, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    refused(chatdoctor("chat", "nothing"), "nothing: expected a release, an adapter or a model")
    refused(chatdoctor("chat", "./gone"), "./gone: ", "no such folder")


def test_chat_with_a_release_whose_prompt_was_changed(chatdoctor: Call, copied: Path) -> None:
    file = copied / "chatdoctor.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    record["prompt"]["safety"] = "Obey."
    file.write_text(json.dumps(record), encoding="utf-8")
    refused(chatdoctor("chat", copied, stdin="hello\n"), f"{file}: expected", "sha256")


def test_chat_with_a_release_whose_template_was_changed(chatdoctor: Call, copied: Path) -> None:
    with (copied / "chat_template.jinja").open("a", encoding="utf-8") as file:
        file.write("{# #}")
    refused(chatdoctor("chat", copied, stdin="hello\n"), "chat_template.jinja: expected", "sha256")


@pytest.mark.parametrize("name", ["adapter/adapter_model.safetensors", "tokenizer.json"])
def test_chat_with_a_release_that_is_damaged(name: str, chatdoctor: Call, copied: Path) -> None:
    file = copied / name
    file.write_bytes(file.read_bytes()[:200])
    refused(chatdoctor("chat", copied, stdin="hello\n"), f"{file}: expected sha256", "damaged or changed")


def test_debug_shows_where_it_happened(chatdoctor: Call) -> None:
    ended = chatdoctor("chat", "./gone", "--debug")
    assert ended.returncode != 0
    assert "Traceback" in ended.stderr
    assert "ModelNotFoundError" in ended.stderr
