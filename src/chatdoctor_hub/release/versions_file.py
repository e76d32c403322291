"""`versions.json`: the versions of everything that a release depends on, and the commit it was made at."""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from chatdoctor_hub.training import versions

__all__ = ["VERSIONS", "git_commit", "locked_versions", "write_versions"]

VERSIONS = "versions.json"
_STARTS = (
    "chatdoctor-hub",
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "tokenizers",
    "safetensors",
    "huggingface_hub",
    "numpy",
    "pyarrow",
)
_REQUIREMENT = re.compile(r"[A-Za-z0-9][\w.-]*")


def write_versions(of_run: Mapping[str, str], file: Path) -> None:
    """Write the lock of versions.

    "run" are the versions that the run recorded, "release" those here, with all that the packages need,
    and "git" the commit of the repository that the working directory is in, or null.
    """
    record = {
        "run": dict(of_run),
        "release": {"python": versions()["python"], **locked_versions()},
        "git": git_commit(Path.cwd()),
    }
    file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def locked_versions() -> dict[str, str]:
    """Of this package, of those that results depend on, and of all that they need; by name."""
    found: dict[str, str] = {}
    waiting = list(_STARTS)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        found[name] = package.version
        for requirement in package.requires or ():
            needed = _REQUIREMENT.match(requirement)
            if needed and "extra ==" not in requirement:
                waiting.append(needed[0])
    if "chatdoctor-hub" not in found:
        found["chatdoctor-hub"] = versions()["chatdoctor-hub"]  # run from a checkout
    return dict(sorted(found.items()))


def git_commit(folder: Path) -> dict[str, str | bool] | None:
    """The commit that a folder's repository stands at, and whether files were changed since; None without git."""

    def asked(*arguments: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", "-C", str(folder), *arguments],
                capture_output=True,
                text=True,
                check=False,
                timeout=20,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    sha = asked("rev-parse", "--verify", "HEAD")
    if not sha:
        return None
    return {"sha": sha, "changed": bool(asked("status", "--porcelain", "--untracked-files=no"))}
