"""`RecipeConfig`: everything a tuning run depends on, checked before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike, fspath
from typing import Any, ClassVar

from pydantic import Field, field_validator

from chatdoctor_hub.corpus import SourceConfig
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.training.recipe.adapters import Adapter, LoraAdapter, adapter_of
from chatdoctor_hub.training.recipe.conflicts import CONFLICTS
from chatdoctor_hub.training.recipe.faults import FaultsError, shown
from chatdoctor_hub.training.recipe.options import (
    AfterConfig,
    AnchorConfig,
    ProbeConfig,
    SafeLoraConfig,
    SafetyMixConfig,
)
from chatdoctor_hub.training.recipe.packaged import settings_of
from chatdoctor_hub.training.recipe.reading import changes_between, in_yaml, merged
from chatdoctor_hub.training.recipe.settings import TrainingConfig
from chatdoctor_hub.training.recipe.strict import Rule, Strict

__all__ = ["RecipeConfig"]


class RecipeConfig(Strict):
    """A tuning run: base model + dialogues -> run folder.

    Raises:
        ConfigError: listing every setting that is wrong, what was found and what is allowed.
    """

    rules: ClassVar[tuple[Rule, ...]] = CONFLICTS

    name: str = Field("", description="of the recipe, where it has one")
    title: str = Field("", description="what the recipe is for, in a line")
    source: str = Field("", description="what the recipe reproduces, and where it is described")
    deviations: tuple[str, ...] = Field((), description="what it does otherwise than its source, and why")
    base: str = Field(min_length=1, description="folder or Hub id of a causal language model")
    data: tuple[SourceConfig, ...] = Field(
        min_length=1,
        description="a corpus folder, a file or folder of dialogues, a Hub data set, or several with weights",
    )
    validation: SourceConfig | None = Field(
        None, description="dialogues to validate with; None: those of a corpus folder, or a share of the data"
    )
    output: str = Field(min_length=1, description="the run folder to write")
    prompt: str = Field(
        "chatdoctor@1",
        min_length=1,
        description="prompt pair, by its id; the data are rendered in its training form",
    )
    allow_safety_in_training: bool = Field(
        False,
        description="tune on data with safety prompts in them, against PTST (arXiv 2402.18540); it is recorded",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="of the order of the data and the adapter's start")
    adapter: Adapter = LoraAdapter()
    training: TrainingConfig = TrainingConfig()
    safety_mix: SafetyMixConfig | None = Field(None, description="safety data among the data; None: none")
    anchor: AnchorConfig | None = Field(
        None, description="hold on to the base's first answer tokens; None: no"
    )
    safe_lora: SafeLoraConfig | None = Field(None, description="projection after the run; None: none")
    probes: ProbeConfig = ProbeConfig()
    after: AfterConfig = AfterConfig()

    @field_validator("data", mode="before")
    @classmethod
    def _as_sources(cls, value: Any) -> Any:
        found, faults = [], []
        for number, item in enumerate(value if isinstance(value, tuple) else (value,)):
            try:
                found.append(_source(item))
            except ConfigError as error:
                faults += [f"{number}.{said}" for said in error.args[1]]
            except TypeError as error:
                faults.append(f"{number}: {error}")
        if faults:
            raise FaultsError("; ".join(faults), faults)
        return tuple(found)

    @field_validator("validation", mode="before")
    @classmethod
    def _as_source(cls, value: Any) -> Any:
        try:
            return None if value is None else _source(value)
        except TypeError as error:
            raise ValueError(str(error)) from None

    @field_validator("adapter", mode="before")
    @classmethod
    def _of_its_kind(cls, value: Any) -> Any:
        return adapter_of(value)

    @classmethod
    def load(cls, name_or_path: str | PathLike[str], **overrides: Any) -> RecipeConfig:
        """A packaged recipe by its name, or a recipe read from YAML; keywords override its settings.

        A mapping changes what it names and leaves the rest: `training={"lr": 1e-4}`. What makes the run
        another one than the source of the recipe describes is added to `deviations`.

        Args:
            name_or_path: a name of `recipes()`, or a YAML file (a file without an ending is `./NAME`).
            **overrides: top-level settings; a packaged recipe needs base, data and output.

        Raises:
            DataNotFoundError: when the file cannot be read.
            ConfigError: when there is no such recipe, it is no YAML mapping or a setting is wrong.
        """
        values = settings_of(name_or_path)
        wanted = merged(values, overrides)
        try:
            config = cls(**wanted)
        except ConfigError as error:
            said = f"{fspath(name_or_path)}: {str(error)[:1].lower()}{str(error)[1:]}"
            raise ConfigError(said, *error.args[1:]) from None
        if not (config.source and overrides):
            return config
        places = {name: wanted[name] for name in ("base", "data", "output")}
        try:
            original = cls(**merged(values, places))
        except ConfigError:
            return config  # the file alone is no recipe, so there is nothing to depart from
        changes = changes_between(original.model_dump(mode="json"), config.model_dump(mode="json"))
        return config.model_copy(update={"deviations": (*config.deviations, *changes)})

    def to_yaml(self) -> str:
        """The whole recipe, as `load` reads it."""
        return in_yaml(self.model_dump(mode="json"))


def _source(value: Any) -> Any:
    """Raises TypeError for what is no source, ConfigError for one with faults."""
    if isinstance(value, (str, PathLike)):
        return SourceConfig(path=fspath(value))
    if isinstance(value, Mapping):
        return SourceConfig(**{str(key): item for key, item in value.items()})
    if isinstance(value, SourceConfig):
        return value
    raise TypeError(f"input should be a path, a Hub id or a mapping of settings, found {shown(value)}")
