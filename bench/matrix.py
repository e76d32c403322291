"""Install the lowest and the newest versions that pyproject.toml allows, each in its own environment, and test.

    python bench/matrix.py [lowest] [newest]

`lowest` takes the lower bound of every dependency that the project names (and torch at its own);
`newest` takes what the package index has. Environments: `.venv-lowest`, `.venv-newest`.
"""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r'"([A-Za-z0-9_-]+)>=([0-9][0-9A-Za-z.]*)[^"]*"')


def lower_bounds() -> dict[str, str]:
    """The lower bounds of run-time dependencies, as pyproject.toml has them (the dev tools stay as pinned)."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    start, end = text.index("dependencies = ["), text.index("\ndev = [")
    return dict(NAMED.findall(text[start:end]))


def run(*command: str | Path) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


def test(which: str) -> None:
    folder = ROOT / f".venv-{which}"
    venv.create(folder, with_pip=True, clear=True)
    python = folder / "bin" / "python"
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    torch = f"torch=={lower_bounds()['torch']}"
    run(*pip, torch)
    if which == "lowest":
        constraints = folder / "constraints.txt"
        pinned = [f"{name}=={version}" for name, version in lower_bounds().items()]
        constraints.write_text("\n".join(pinned) + "\n", encoding="utf-8")
        run(*pip, "-c", constraints, "-e", ".[all,dev]")
    else:
        run(*pip, "--upgrade", "--upgrade-strategy", "eager", "-e", ".[all,dev]", torch)
    run(python, "-m", "pip", "freeze", "--exclude-editable")
    run(python, "-m", "pytest", "-q", "-m", "not slow")


if __name__ == "__main__":
    for name in sys.argv[1:] or ["lowest", "newest"]:
        test(name)
