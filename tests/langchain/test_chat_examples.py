"""The examples of the chat model say what they promise."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def said_by(tmp_path):
    def run(name):
        done = subprocess.run(
            [sys.executable, EXAMPLES / name],
            cwd=tmp_path,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_answers_that_were_looked_up(said_by):
    said = said_by("03_knowledge_doctor.py")
    assert "This fits a migraine [table:" in said
    assert "within seconds.\n" in said
    assert "9999" not in said
    assert "unilateral headache, photophobia, nausea (by the model)" in said
    assert "] Migraine, score" in " ".join(said.split())
    assert "invented and removed: 1" in said
    assert said.count("Rest in a dark, quiet room.") == 2
    assert "citations, failures, invented_citations, keywords" in said


def test_an_agent_looks_up_and_answers_in_the_form(said_by):
    pytest.importorskip("langchain", reason="install chatdoctor-hub[agents] to run the agent")
    said = said_by("04_agent.py")
    assert "disease_lookup" in said
    assert "tool: 3 found." in said
    assert "urgent=False words='This may be a migraine" in said
    assert "What the model saw first: You are a" in said


def test_they_are_short():
    for name in ("03_knowledge_doctor.py", "04_agent.py"):
        assert len((EXAMPLES / name).read_text("utf-8").splitlines()) < 60
