"""`RunFolder`: what a tuning run leaves behind, and its manifest `run.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.training.config import RecipeConfig

__all__ = ["METRICS", "RECORD", "BaseRecord", "DataRecord", "RunFolder", "RunManifest"]

RECORD = "run.json"
METRICS = "metrics.jsonl"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BaseRecord(_Record):
    """The base model of a run: how it was named, where it was, what it holds."""

    id: str
    path: str
    digest: str
    parameters: int
    model_type: str


class DataRecord(_Record):
    """The dialogues of a run."""

    source: str
    digest: str
    training: int
    validation: int
    shortened: int
    skipped: dict[str, int]
    labelled_tokens: int


class RunManifest(_Record):
    """Everything that is needed to say what a run was, and to do it again."""

    schema_version: int = 1
    recipe: RecipeConfig
    base: BaseRecord
    data: DataRecord
    prompt: dict[str, Any]
    trained_parameters: int
    steps: int
    tokens: int
    seconds: float
    precision: str
    workers: int
    device: str
    versions: dict[str, str]


@dataclass(frozen=True)
class RunFolder:
    """A finished run.

    Args:
        path: the folder: `run.json`, `recipe.yaml`, `metrics.jsonl`, `adapter/`, `tokenizer/`.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """A run folder that exists and whose manifest can be read.

        Raises:
            DataNotFoundError: when there is no run there.
            DataFormatError: when its manifest is not one.
        """
        folder = cls(Path(path))
        folder.manifest  # noqa: B018 - read now, so that a fault is told now
        return folder

    @cached_property
    def manifest(self) -> RunManifest:
        """The records of the run."""
        file = self.path / RECORD
        try:
            return RunManifest.model_validate_json(file.read_text(encoding="utf-8"), strict=False)
        except OSError as error:
            raise DataNotFoundError(
                f"{file}: expected the manifest of a tuning run, found no readable file; give the "
                "output folder of a run."
            ) from error
        except (ValidationError, ValueError) as error:
            raise DataFormatError(
                f"{file}: expected the manifest of a tuning run, found something else; run the recipe again."
            ) from error

    @cached_property
    def metrics(self) -> tuple[dict[str, float], ...]:
        """One record a step: step, tokens, loss, lr and, where measured, validation_loss.

        Raises:
            DataNotFoundError, DataFormatError: when they cannot be read.
        """
        file = self.path / METRICS
        try:
            return tuple(json.loads(line) for line in file.read_text(encoding="utf-8").splitlines())
        except OSError as error:
            raise DataNotFoundError(
                f"{file}: expected the losses of a tuning run, found no readable file; run the recipe again."
            ) from error
        except ValueError as error:
            raise DataFormatError(
                f"{file}: expected a JSON object a line, found something else; run the recipe again."
            ) from error

    @property
    def adapter(self) -> Path:
        """The trained adapter."""
        return self.path / "adapter"

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, with the chat template of the training form."""
        return self.path / "tokenizer"
