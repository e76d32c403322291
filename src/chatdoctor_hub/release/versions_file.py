"""`versions.json`: the versions of everything that a release depends on, and the commit of its run."""

from __future__ import annotations

import importlib.metadata
import json
import re
from pathlib import Path

from chatdoctor_hub.training import RunManifest, versions

__all__ = ["VERSIONS", "locked_versions", "write_versions"]

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


def write_versions(run: RunManifest, file: Path) -> None:
    """Write the lock of versions.

    "run" are the versions that the run recorded, "git" the commit that it recorded, or null, and "release" the
    versions here, with all that the packages need.
    """
    record = {
        "run": run.versions,
        "git": run.git,
        "release": {"python": versions()["python"], **locked_versions()},
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
