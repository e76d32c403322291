"""What of a base model is trained: an adapter of one kind, or everything."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from chatdoctor_hub.training.recipe.faults import FaultsError, near, shown
from chatdoctor_hub.training.recipe.strict import Rule, Strict

__all__ = ["Adapter", "BottleneckAdapter", "FullTuning", "LoraAdapter", "PrefixAdapter", "adapter_of"]

Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class _Kind(Strict):
    @classmethod
    def hint(cls, name: str) -> str:
        if own := super().hint(name):
            return own
        names: dict[str, list[str]] = {field: [] for _, model in _kinds() for field in model.model_fields}
        for kind, model in _kinds():
            for field in model.model_fields:
                names[field].append(repr(kind))
        found = difflib.get_close_matches(name, list(names), n=1)
        if not found:
            return ""
        if found[0] == name:
            return f" of this kind, but of {' and '.join(names[name])}: name the kind with adapter.kind"
        return f" of this kind, did you mean {found[0]!r} of {' and '.join(names[found[0]])}?"


class LoraAdapter(_Kind):
    """LoRA (arXiv 2106.09685), y = Wx + (alpha / r) B A drop(x), and its variants."""

    kind: Literal["lora"] = "lora"
    r: int = Field(16, ge=1, description="rank")
    alpha: int = Field(32, ge=1, description="scale; the update is multiplied by alpha / r")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inputs dropped")
    variant: Literal["lora", "rslora", "dora", "pissa"] = Field(
        "lora",
        description="rslora: scale alpha / sqrt(r) (arXiv 2312.03732); dora: direction and magnitude apart "
        "(2402.09353); pissa: starts from the largest singular vectors (2404.02948)",
    )
    targets: Literal["all-linear"] | Names = Field(
        "all-linear",
        description="names of the linear modules to adapt, or all but the head",
        json_schema_extra={"allowed": "'all-linear' or a list of names of modules"},
    )

    @property
    def summary(self) -> str:
        """In a few words, for tables."""
        on = "all linear layers" if self.targets == "all-linear" else ", ".join(self.targets)
        return f"{self.variant} r {self.r} on {on}"


def _position_is_a_series_adapters(adapter: Any) -> Iterator[str]:
    if adapter.kind == "parallel" and adapter.position is not None:
        yield (
            f"position: input should be left out for a parallel adapter, which stands beside a module, found "
            f"{adapter.position!r}"
        )


def _scale_counts(adapter: Any) -> Iterator[str]:
    if adapter.scale == 0:
        yield "scale: input should be another number than 0, under which nothing is learned, found 0"


class BottleneckAdapter(_Kind):
    """A series or parallel adapter (`chatdoctor_hub.adapters`; arXiv 1902.00751, 2110.04366, 2304.01933)."""

    rules: ClassVar[tuple[Rule, ...]] = (_position_is_a_series_adapters, _scale_counts)

    kind: Literal["series", "parallel"]
    bottleneck_size: int = Field(256, ge=1, description="width r of the bottleneck")
    activation: str = Field(
        "tanh", min_length=1, description="sigma, by its name in transformers, or 'identity'"
    )
    scale: float | Literal["learned"] = Field(
        1.0,
        description="factor of the adapter's output",
        json_schema_extra={"allowed": "a finite number or 'learned'"},
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="share of the adapter's inputs dropped")
    placement: Literal["linear", "block"] = Field(
        "block",
        description="once a block, as in the papers, or at every linear layer, as in LLM-Adapters' code",
    )
    init: Literal["identity", "bert"] = Field(
        "identity", description="identity: the model is unchanged at step 0; bert: both matrices N(0, 0.02)"
    )
    position: Literal["input", "output"] | None = Field(
        None, description="of a series adapter; None: output for blocks, input for linear layers"
    )
    targets: Names | None = Field(
        None,
        description="names of modules; None: those of the model's family",
        json_schema_extra={"allowed": "a list of names of modules, or None for those of the model's family"},
    )

    @property
    def summary(self) -> str:
        """In a few words, for tables."""
        on = f" on {', '.join(self.targets)}" if self.targets else f", {self.placement}"
        return f"{self.kind} {self.bottleneck_size}{on}"


class PrefixAdapter(_Kind):
    """Prefix tuning (arXiv 2101.00190; P-tuning v2, 2110.07602): learned keys and values in every layer."""

    kind: Literal["prefix"]
    tokens: int = Field(10, ge=1, description="length of the prefix")
    projection_size: int | None = Field(
        None, ge=1, description="width of the MLP that makes the prefix while training; None: none"
    )

    @property
    def summary(self) -> str:
        """In a few words, for tables."""
        return f"prefix of {self.tokens} tokens"


class FullTuning(_Kind):
    """Every weight of the base is trained; no adapter."""

    kind: Literal["full"]

    @property
    def summary(self) -> str:
        """In a few words, for tables."""
        return "every weight"


Adapter = Annotated[LoraAdapter | BottleneckAdapter | PrefixAdapter | FullTuning, Field(discriminator="kind")]
"""One of the kinds; a mapping without `kind` is a LoRA."""


def adapter_of(value: Any) -> Any:
    """Settings of an adapter as a mapping -> the model of their kind; anything else as it is.

    Raises:
        ConfigError: listing every setting that is wrong.
    """
    if not isinstance(value, Mapping):
        return value
    given = {"kind": "lora", **value}
    models: dict[Any, type[Strict]] = dict(_kinds())
    kind = given["kind"]
    if isinstance(kind, str) and kind in models:
        return models[kind](**given)
    names = list(models)
    faults = [f"kind: input should be {_listed(names)}, found {shown(kind)}"]
    meant = difflib.get_close_matches(str(kind).lower(), names, n=1)
    if meant:
        faults[0] += near(str(kind), names)
        # What else is wrong is told as well, taking the kind for the one that was meant.
        try:
            models[meant[0]](**{**given, "kind": meant[0]})
        except FaultsError as error:
            faults += error.args[1]
    raise FaultsError("; ".join(faults), faults)


def _kinds() -> Iterator[tuple[str, type[Strict]]]:
    for model in (LoraAdapter, BottleneckAdapter, PrefixAdapter, FullTuning):
        for kind in get_args(model.model_fields["kind"].annotation):
            yield kind, model


def _listed(names: list[str]) -> str:
    return f"{', '.join(map(repr, names[:-1]))} or {names[-1]!r}"
