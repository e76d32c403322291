from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "03_knowledge_doctor.py"


def test_the_example_says_what_it_promises(tmp_path):
    done = subprocess.run(
        [sys.executable, EXAMPLE],
        cwd=tmp_path,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "This fits a migraine [table:" in done.stdout
    assert "within seconds.\n" in done.stdout
    assert "9999" not in done.stdout
    assert "unilateral headache, photophobia, nausea (by the model)" in done.stdout
    assert "] Migraine, score" in " ".join(done.stdout.split())
    assert "invented and removed: 1" in done.stdout
    assert done.stdout.count("Rest in a dark, quiet room.") == 2
    assert "citations, failures, invented_citations, keywords" in done.stdout
    assert len(EXAMPLE.read_text("utf-8").splitlines()) < 60
