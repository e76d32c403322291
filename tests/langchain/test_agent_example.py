from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("langchain")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "04_agent.py"


def test_the_agent_looks_up_and_answers_in_the_form(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "disease_lookup" in done.stdout
    assert "tool: 3 found." in done.stdout
    assert "urgent=False words='This may be a migraine" in done.stdout
    assert "What the model saw first: You are a" in done.stdout
