"""`CorpusConfig`: everything a corpus depends on, checked before anything is read."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chatdoctor_hub.corpus.building.steps import CleaningRules
from chatdoctor_hub.corpus.reading import SourceConfig
from chatdoctor_hub.errors import ConfigError, DataNotFoundError

__all__ = ["CorpusConfig", "check_config"]


class CorpusConfig(BaseModel):
    """A corpus in the making: sources -> cleaned, compared, divided -> folder.

    Raises:
        ConfigError: listing every setting that is wrong, what was found and what is allowed.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    sources: tuple[SourceConfig, ...] = Field(
        min_length=1,
        description="what is read, in this order: paths, Hub ids, or mappings with more settings",
    )
    out: str = Field(min_length=1, description="the corpus folder to write; absent, empty or an older corpus")
    licence: str = Field(min_length=1, description="of the result, as the data card states it; or 'unknown'")
    languages: tuple[str, ...] = Field((), description="ISO 639-1 codes, for the data card")
    seed: int = Field(0, ge=0, lt=2**31, description="of the order and of the assignment to splits")
    min_words: int = Field(
        3,
        ge=1,
        description="words that patient and doctor must each have said; shorter dialogues are left out",
    )
    max_words: int | None = Field(
        10_000, ge=2, description="words a dialogue may have; longer ones are left out; null for no limit"
    )
    deidentify: bool = Field(True, description="whether names, numbers and addresses become placeholders")
    near_duplicates: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity, 0 … 1, from which a dialogue repeats an earlier one; null: exact only",
    )
    leak_check: tuple[SourceConfig, ...] = Field(
        (), description="evaluation sets that no dialogue may repeat: paths or Hub ids"
    )
    leak_threshold: float = Field(0.8, gt=0, le=1, description="Jaccard similarity, 0 … 1, that is a leak")
    on_leak: Literal["stop", "drop", "report"] = Field(
        "stop", description="stop: an error that names the records; drop: leave them out; report: count them"
    )
    validation: float = Field(0.05, ge=0, lt=1, description="share of the dialogues to validate with")
    test: float = Field(0.05, ge=0, lt=1, description="share of the dialogues to test with in the end")
    split_by: Literal["dialogue", "patient"] = Field(
        "dialogue",
        description="what stays in one split: dialogues that open alike; patient: and those of one id, too",
    )
    shard_size: int = Field(50_000, ge=1, le=1_000_000, description="dialogues in a Parquet file")
    workers: int = Field(
        1,
        ge=0,
        le=256,
        description="processes that clean and write; 0: one a CPU core; never changes the result",
    )
    strict: bool = Field(False, description="whether the first record that cannot be used is an error")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = _all_faults(type(self), error)
            raise ConfigError(
                f"Expected a valid CorpusConfig, found {len(faults)} fault(s): {'; '.join(faults)}.", faults
            ) from None

    @field_validator("sources", "leak_check", mode="before")
    @classmethod
    def _as_sources(cls, value: Any) -> Any:
        if isinstance(value, (str, Path, Mapping, SourceConfig)):
            value = [value]
        if not isinstance(value, (list, tuple)):
            return value
        found, faults = [], []
        for number, item in enumerate(value):
            try:
                found.append(_source(item))
            except ConfigError as error:
                faults += [f"{number}: {said}" for said in error.args[1]]
        if faults:
            raise ConfigError("; ".join(faults), faults)
        return tuple(found)

    @field_validator("languages", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value

    @field_validator("out", mode="before")
    @classmethod
    def _as_path(cls, value: Any) -> Any:
        value = os.fspath(value) if isinstance(value, Path) else value
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"input should be a path, found {value!r} with a NUL in it")
        # Not Path's, which raises where there is no such home.
        return os.path.expanduser(value) if isinstance(value, str) else value  # noqa: PTH111

    @field_validator("sources")
    @classmethod
    def _without_repetition(cls, value: tuple[SourceConfig, ...]) -> tuple[SourceConfig, ...]:
        if any(source.weight > 1 for source in value):
            raise ValueError(
                "a weight above 1 repeats records, and a corpus holds each dialogue once: use 1 or less"
            )
        return value

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> CorpusConfig:
        if self.validation + self.test >= 1:
            raise ValueError("validation and test must together be less than 1")
        if self.max_words is not None and self.max_words < 2 * self.min_words:
            raise ValueError("max_words must be at least twice min_words, one for each speaker")
        return self

    @property
    def rules(self) -> CleaningRules:
        """What is done to each dialogue by itself."""
        return CleaningRules(self.min_words, self.max_words, self.deidentify)

    @classmethod
    def load(cls, path: str | os.PathLike[str], **overrides: Any) -> CorpusConfig:
        """Read a configuration from YAML; keywords override its settings.

        Raises:
            DataNotFoundError: when the file cannot be read.
            ConfigError: when it is no YAML mapping or a setting is wrong.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise ConfigError(
                f"Expected the path of settings in YAML, found {type(path).__name__}; make a CorpusConfig of "
                "settings that are in memory."
            )
        try:
            values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
            raise ConfigError(f"{path}: expected settings in YAML, found something else; mend it.") from error
        except (OSError, ValueError) as error:
            found = getattr(error, "strerror", None) or "a path that no file can have"
            raise DataNotFoundError(
                f"{str(path)!r}: expected the settings of a corpus in YAML, found no readable file ({found}); "
                "check the path."
            ) from None
        if not isinstance(values, dict):
            raise ConfigError(
                f"{path}: expected a mapping of settings, found {type(values).__name__}; mend it."
            )
        try:
            return cls(**{**{str(key): value for key, value in values.items()}, **overrides})
        except ConfigError as error:
            raise ConfigError(f"{path}: {str(error)[:1].lower()}{str(error)[1:]}", *error.args[1:]) from None

    def to_record(self) -> dict[str, Any]:
        """The settings that the bytes of the corpus depend on, for JSON; files by their names alone."""
        record = self.model_dump(mode="json", exclude={"out", "workers", "strict"})
        for sources in (record["sources"], record["leak_check"]):
            for source in sources:
                # Where a file lies on this machine is nobody's concern; a Hub id has no such place.
                path = Path(os.path.expanduser(source["path"]))  # noqa: PTH111
                source["path"] = path.name if path.is_absolute() or path.exists() else source["path"]
        return record


def check_config(config: object) -> None:
    """Refuse what is no `CorpusConfig`.

    Raises:
        ConfigError: for anything else, a mapping of settings among them.
    """
    if not isinstance(config, CorpusConfig):
        raise ConfigError(
            f"Expected a CorpusConfig, found {type(config).__name__}; make one with CorpusConfig(sources=…, out=…, "
            "licence=…), or read one with CorpusConfig.load."
        )


def _source(item: Any) -> Any:
    if isinstance(item, (str, Path)):
        return SourceConfig(path=os.fspath(item))
    if isinstance(item, Mapping):
        return SourceConfig(**{str(key): value for key, value in item.items()})
    if isinstance(item, SourceConfig):
        return item
    fault = f"expected a path or a mapping, found {type(item).__name__}"
    raise ConfigError(fault, [fault])


def _all_faults(model: type[BaseModel], error: ValidationError) -> list[str]:
    faults = []
    for fault in error.errors():
        where = ".".join(str(part) for part in fault["loc"])
        inner = fault.get("ctx", {}).get("error")
        if fault["type"] == "extra_forbidden":
            near = difflib.get_close_matches(where, list(model.model_fields), n=1)
            faults.append(f"{where}: no such setting" + (f", did you mean {near[0]!r}?" if near else ""))
        elif fault["type"] == "missing":
            field = model.model_fields.get(where)
            faults.append(f"{where}: missing" + (f" ({field.description})" if field else ""))
        elif isinstance(inner, ConfigError) and len(inner.args) > 1:
            faults += [f"{where}.{said}" for said in inner.args[1]]
        elif isinstance(inner, ValueError):
            faults.append(f"{where}: {inner}" if where else str(inner))
        else:
            faults.append(f"{where}: {fault['msg'].lower()}, found {fault['input']!r}")
    return faults
