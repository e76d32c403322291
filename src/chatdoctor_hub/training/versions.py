"""Versions of what results depend on, and the commit that they were made at."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
from pathlib import Path

from chatdoctor_hub import __version__

__all__ = ["git_commit", "versions"]

_PACKAGES = ("torch", "transformers", "peft", "accelerate", "tokenizers", "huggingface_hub", "safetensors")


def versions() -> dict[str, str]:
    """Of Python, of this package and of those that results depend on; what is not installed is left out."""
    found = {"python": platform.python_version(), "chatdoctor-hub": __version__}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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
