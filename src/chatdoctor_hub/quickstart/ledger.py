"""`Ledger`: which steps are done, and with what inputs; what makes a rerun resume."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from chatdoctor_hub import __version__
from chatdoctor_hub.folders import replacing_file

__all__ = ["Ledger", "digest_of_file", "key_of"]


def key_of(*inputs: Any) -> str:
    """sha256 (hex) of everything a step depends on, this package's version among it."""
    text = json.dumps([__version__, *inputs], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def digest_of_file(file: Path) -> str:
    """sha256 (hex) of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


class Ledger:
    """The file `steps.json`: for each finished step its key, the seconds it took and what it found.

    An entry is written after the step's folder has its name, so a step without an entry is done again.
    A file that cannot be read counts as empty.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "steps.json"
        try:
            self._steps: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self._steps = {}
        if not isinstance(self._steps, dict):
            self._steps = {}

    def finished(self, step: str, key: str) -> dict[str, Any] | None:
        """What the step found when it was last done with these inputs, or None."""
        entry = self._steps.get(step)
        return entry["found"] if isinstance(entry, dict) and entry.get("key") == key else None

    def seconds(self, step: str) -> float:
        """How long the step took when it was done."""
        return float(self._steps[step]["seconds"])

    def enter(self, step: str, key: str, seconds: float, found: dict[str, Any]) -> None:
        """Record a finished step."""
        self._steps[step] = {"key": key, "seconds": round(seconds, 1), "found": found}
        with replacing_file(self._file) as partial:
            partial.write_text(json.dumps(self._steps, indent=2) + "\n", encoding="utf-8")
