"""`SourceConfig`: where dialogues are read from, and how many of them."""

from __future__ import annotations

import difflib
from os import PathLike, fspath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from chatdoctor_hub.corpus.reading.published import published_set
from chatdoctor_hub.errors import ConfigError

__all__ = ["SourceConfig"]


class SourceConfig(BaseModel):
    """A source of dialogues.

    Raises:
        ConfigError: listing every setting that is wrong, what was found and what is allowed.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    path: str = Field(
        min_length=1, description="a file, a folder of files, or a Hub data set's id (org/name)"
    )
    adapter: str | None = Field(
        None,
        description="name of a published set, whose layout and provenance it has; None: told from the content",
    )
    split: str | None = Field(
        None,
        description="of a folder or a Hub data set; None: train where the files' names tell splits, else "
        "all; 'all': every one",
    )
    config: str | None = Field(
        None, description="configuration of a Hub data set, or a folder within a folder"
    )
    revision: str | None = Field(None, description="branch, tag or commit of a Hub data set")
    licence: str | None = Field(None, description="under which it is used; None: what its publisher states")
    weight: float = Field(
        1.0,
        gt=0,
        le=1000,
        description="share of the dialogues that is used, drawn by a hash of their words; above 1 they repeat",
    )
    limit: int | None = Field(
        None, ge=1, description="dialogues that are given at most, the first ones; None: all"
    )
    answer: Literal["icliniq", "chatgpt", "chatdoctor"] = Field(
        "icliniq", description="whose answer is used where a record has several; icliniq: the doctor's"
    )

    def __init__(self, **values: Any) -> None:
        if isinstance(values.get("path"), PathLike):
            values["path"] = fspath(values["path"])
        try:
            super().__init__(**values)
        except ValidationError as error:
            faults = [_fault(item) for item in error.errors()]
            raise ConfigError(
                f"Expected a valid SourceConfig, found {len(faults)} fault(s): {'; '.join(faults)}.", faults
            ) from None

    @field_validator("adapter")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None:
            published_set(value)
        return value


def _fault(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"]) or "the source"
    if fault["type"] == "extra_forbidden":
        near = difflib.get_close_matches(where, list(SourceConfig.model_fields), n=1)
        return f"{where}: no such setting" + (f", did you mean {near[0]!r}?" if near else "")
    if fault["type"] == "missing":
        return f"{where}: missing"
    if isinstance(inner := fault.get("ctx", {}).get("error"), ConfigError):
        said = str(inner)
        return f"{where}: {said[:1].lower()}{said[1:]}"
    return f"{where}: {fault['msg'].lower()}, found {fault['input']!r}"
