"""`RecipeConfig`: everything a tuning run depends on, checked before anything is loaded."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chatdoctor_hub.errors import ConfigError, DataNotFoundError

__all__ = ["AdapterConfig", "RecipeConfig", "TrainingConfig"]


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, which also reads 1e-3 as a number, as YAML 1.2 and everybody else does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"), list("-+0123456789")
)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = _all_faults(type(self), error)
            listed = "; ".join(faults)
            raise ConfigError(
                f"Expected a valid {type(self).__name__}, found {len(faults)} fault(s): {listed}.", faults
            ) from None


class AdapterConfig(_Strict):
    """Which adapter is trained: LoRA (arXiv 2106.09685), y = Wx + (alpha / r) B A drop(x)."""

    r: int = Field(16, ge=1, description="rank")
    alpha: int = Field(32, ge=1, description="scale; the update is multiplied by alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inputs dropped")
    targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        "all-linear", description="names of the linear modules to adapt, or all but the head"
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return tuple(value) if isinstance(value, list) else value


class TrainingConfig(_Strict):
    """How weights are fitted to dialogues."""

    epochs: float = Field(2.0, gt=0, le=1000, description="passes over the training dialogues")
    batch_size: int = Field(32, ge=1, description="dialogues an optimizer step")
    max_length: int = Field(512, ge=8, description="tokens a dialogue may have; older turns are left out")
    lr: float = Field(1e-3, gt=0, description="highest learning rate")
    warmup_ratio: float = Field(0.05, ge=0, lt=1, description="share of the steps until it is reached")
    decay_ratio: float = Field(
        0.95, ge=0, le=1, description="share of the steps, at the end, in which it falls to 0"
    )
    weight_decay: float = Field(0.0, ge=0, description="AdamW's decoupled decay")
    max_grad_norm: float = Field(1.0, gt=0, description="gradients are scaled down to this norm")
    optimizer: Literal["adamw", "muon"] = Field(
        "adamw",
        description="muon: momentum orthogonalised (Jordan et al. 2024) for matrices, AdamW for the rest",
    )
    token_budget: int = Field(4096, ge=8, description="tokens a forward pass may hold")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the passes; auto takes what is faster here; the weights are kept in float32"
    )
    workers: int = Field(
        0, ge=0, le=64, description="threads that work on parts of a step; 0: one a CPU core"
    )
    validations: int = Field(4, ge=1, description="how often the validation loss is measured in a run")


class RecipeConfig(_Strict):
    """A tuning run: base model + dialogues -> run folder.

    Raises:
        ConfigError: listing every setting that is wrong, what was found and what is allowed.
    """

    base: str = Field(description="folder or Hub id of a causal language model")
    data: str = Field(description="a corpus folder, or a file of dialogues (Alpaca JSON, messages JSONL)")
    output: str = Field(description="the run folder to write")
    prompt: str = Field("chatdoctor@1", description="prompt pair; the data are rendered in its training form")
    seed: int = Field(0, ge=0, lt=2**31, description="of the order of the data and the adapter's start")
    adapter: AdapterConfig = AdapterConfig()
    training: TrainingConfig = TrainingConfig()

    def __init__(self, **values: Any) -> None:
        paths = {key: str(value) for key, value in values.items() if isinstance(value, Path)}
        super().__init__(**{**values, **paths})

    @classmethod
    def load(cls, path: str | Path, **overrides: Any) -> RecipeConfig:
        """Read a recipe from YAML; keywords override its top-level settings.

        Raises:
            DataNotFoundError: when the file cannot be read.
            ConfigError: when it is no YAML mapping or a setting is wrong.
        """
        try:
            values = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
        except OSError as error:
            raise DataNotFoundError(
                f"{path}: expected a recipe in YAML, found no readable file "
                f"({error.strerror}); check the path."
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected a recipe in YAML, found something else; mend it.") from error
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path}: expected a mapping of settings, found {type(values).__name__}; mend it."
            )
        try:
            return cls(**{**{str(key): value for key, value in values.items()}, **overrides})
        except ConfigError as error:
            raise ConfigError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}", *error.args[1:]) from None

    def to_yaml(self) -> str:
        """The whole recipe, as `load` reads it."""
        return str(yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True))


def _all_faults(model: type[BaseModel], error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"]) or "the configuration"
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, list(model.model_fields), n=1)
            faults.append(f"{where}: no such setting" + (f", did you mean {near[0]!r}?" if near else ""))
        elif fault["type"] == "missing":
            faults.append(f"{where}: missing")
        # Settings within settings list their own.
        elif isinstance(inner := fault.get("ctx", {}).get("error"), ConfigError) and len(inner.args) > 1:
            faults += [f"{where}.{said}" for said in inner.args[1]]
        else:
            faults.append(f"{where}: {fault['msg'].lower()}, found {fault['input']!r}")
    return faults
