"""`RunFolder`: what a tuning run leaves behind, and its manifest `run.json`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.training.recipe import RecipeConfig

__all__ = [
    "GGUF",
    "METRICS",
    "PLOT",
    "RECORD",
    "BaseRecord",
    "DataRecord",
    "RunFolder",
    "RunManifest",
    "SpeedRecord",
]

RECORD = "run.json"
METRICS = "metrics.jsonl"
PLOT = "training.png"
GGUF = "model.gguf"


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
    """The dialogues of a run, in counts; `skipped`, `problems` and `safety` by reason."""

    source: str
    digest: str
    training: int
    validation: int
    shortened: int
    skipped: dict[str, int]
    labelled_tokens: int
    tokens: int = 0
    read: int = 0
    problems: dict[str, int] = Field({}, description="records that could not be read")
    safety: dict[str, int] = Field({}, description="safety prompts tuned on, where the recipe allows it")
    mixed: int = Field(0, description="safety dialogues that were added")


class SpeedRecord(_Record):
    """How the passes were run."""

    fused: bool = False
    why_not_fused: str = ""
    flat: bool = True
    processes: int = 1


class RunManifest(_Record):
    """Everything that is needed to say what a run was, and to do it again."""

    schema_version: int = 1
    recipe: RecipeConfig
    base: BaseRecord
    data: DataRecord
    prompt: dict[str, Any]
    pure: bool = Field(True, description="whether nothing of a safety prompt was tuned on (PTST)")
    trained_parameters: int
    steps: int
    tokens: int
    seconds: float
    precision: str
    workers: int
    device: str
    speed: SpeedRecord = SpeedRecord()
    validation_loss: float | None = Field(None, description="of the weights that were kept, nats a token")
    best_step: int | None = Field(
        None, description="step whose weights were kept, where that is not the last"
    )
    stopped_early: bool = False
    resumed_at: int | None = Field(None, description="steps that a checkpoint brought along")
    after: dict[str, Any] = Field({}, description="what was made of the weights, and how it was verified")
    versions: dict[str, str]
    git: dict[str, str | bool] | None = Field(
        None,
        description="commit of the repository that it was started in, and whether files were changed since",
    )


@dataclass(frozen=True)
class RunFolder:
    """A finished run.

    Args:
        path: the folder: `run.json`, `recipe.yaml`, `metrics.jsonl`, `training.png`, `tokenizer/`, and
            `adapter/` or, where everything was tuned, `model/`.
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
    def model(self) -> Path:
        """The trained model, of a run in which every weight was tuned."""
        return self.path / "model"

    @property
    def merged(self) -> Path:
        """The merged weights, where the recipe asked for them."""
        return self.path / "merged"

    @property
    def gguf(self) -> Path:
        """The GGUF file, where the recipe asked for it."""
        return self.path / GGUF

    @property
    def tokenizer(self) -> Path:
        """The tokenizer, with the chat template of the training form."""
        return self.path / "tokenizer"
