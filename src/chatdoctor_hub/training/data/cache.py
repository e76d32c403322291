"""Where encoded dialogues are kept: a folder by the digest of everything that they depend on, or for a while."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatdoctor_hub import __version__
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.prompts import PromptPair
from chatdoctor_hub.training.data.report import DataReport
from chatdoctor_hub.training.data.samples import Samples
from chatdoctor_hub.training.recipe import RecipeConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Keeper", "key_of", "open_kept", "write_record"]

_FORMAT = 1
_RECORD = "data.json"
_PACKAGES = ("transformers", "tokenizers", "jinja2")


def key_of(
    config: RecipeConfig, fingerprint: str, pair: PromptPair, tokenizer: PreTrainedTokenizerBase
) -> str:
    """sha256 (hex) of everything that the encoded dialogues depend on.

    Args:
        config: the recipe.
        fingerprint: of the data and their splits.
        pair: the prompts.
        tokenizer: a fast one.
    """
    backend: Any = tokenizer.backend_tokenizer
    told = {
        "format": _FORMAT,
        "data": fingerprint,
        "prompt": pair.to_record(),
        "template": pair.training_template(tokenizer),
        "tokenizer": hashlib.sha256(backend.to_str().encode()).hexdigest(),
        "special": sorted((name, str(token)) for name, token in tokenizer.special_tokens_map.items()),
        "max_length": config.training.max_length,
        "loss_on": config.training.loss_on,
        "allow_safety": config.allow_safety_in_training,
        "versions": [__version__, *map(importlib.metadata.version, _PACKAGES)],
    }
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def write_record(folder: Path, key: str, report: DataReport, sources: Sequence[str], loss_on: str) -> None:
    """Say what lies in a folder, once the samples are in it."""
    record = {"key": key, "report": report.to_record(), "sources": list(sources), "loss_on": loss_on}
    (folder / _RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def open_kept(
    folder: Path, key: str, keeper: Keeper | None = None
) -> tuple[Samples, Samples, DataReport] | None:
    """Training and validation samples and the report that lie in a folder under this key.

    Returns:
        None where something else, or nothing whole, lies there, and all must be made anew.
    """
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        sources, loss_on = record["sources"], record["loss_on"]
        training, validation = (
            Samples(folder, name, sources, loss_on, keeper) for name in ("training", "validation")
        )
        return training, validation, DataReport.from_record(record["report"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, DataFormatError):
        return None


class Keeper:
    """A temporary folder that goes when nobody has its samples any more, or the process ends."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chatdoctor-data-"))
        self.remove = weakref.finalize(self, _remove, self.folder, os.getpid())


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:  # and not of one that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
