"""`AdaptedModels`: one base and its adapters by name, each a model to compute with."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.weights.openings import Opening, has_virtual_tokens, opening_of

__all__ = ["BARE", "AdaptedModel", "AdaptedModels"]

BARE = ""
"""The name of the base without any adapter."""


@dataclass(frozen=True)
class AdaptedModel:
    """A model to compute with.

    Args:
        model: a causal language model.
        opening: the virtual tokens that every row begins with, or None.
    """

    model: Any
    opening: Opening | None = None

    @classmethod
    def of(cls, model: Any, name: str) -> AdaptedModel:
        """A model of transformers or peft, in evaluation mode.

        Raises:
            ModelFormatError: for virtual tokens that depend on the request.
        """
        model.eval()
        if has_virtual_tokens(model):
            return cls(model.get_base_model(), opening_of(model, name))
        return cls(model)


class AdaptedModels:
    """One base and its adapters; which one answers is named by each request.

    Nothing is switched: every adapter is a model of its own over the same weights (`sharing.twin_of`), so
    requests for different ones can be under way at once. Nothing here changes after it is made.

    Args:
        models: the models by key; "" is the key of the bare base.
        default: the key of what answers where no name is given.
        name: of the engine: what an answer of the default is called.
        base: what the bare base is called, besides "".
    """

    def __init__(
        self, models: Mapping[str, AdaptedModel], default: str, name: str, base: str | None = None
    ) -> None:
        self._models = dict(models)
        self.default = default
        self._name = name
        self._base = base or name
        self._keys = {key: key for key in models}
        if BARE in models:
            self._keys.setdefault(self._base, BARE)
        self._keys.setdefault(name, default)

    @classmethod
    def of(cls, model: Any, name: str) -> AdaptedModels:
        """A single model that is in memory already, adapters of peft that are active included."""
        key = name if hasattr(model, "peft_config") else BARE
        return cls({key: AdaptedModel.of(model, name)}, key, name)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the adapters that can be chosen, besides the default and the bare base."""
        return tuple(key for key in self._models if key not in (BARE, self.default))

    @property
    def base(self) -> str | None:
        """What the bare base is called; None where it cannot be chosen."""
        return self._base if BARE in self._models else None

    def check(self, name: str | None) -> str:
        """The key of the model that a request names; None is the default, "" the bare base.

        Raises:
            ConfigError: for a name that does not exist.
        """
        if name is None:
            return self.default
        if name in self._keys:
            return self._keys[name]
        known = [key for key in self._keys if key]
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "use one of these, or leave it out."
        bare = (
            " ('' is the base without an adapter)" if BARE in self._models and len(self._models) > 1 else ""
        )
        raise ConfigError(
            f"{self._name}: expected the name of one of its models, which are {', '.join(map(repr, known))}{bare}, "
            f"found {name!r}; {hint}"
        )

    def model(self, key: str) -> Any:
        """What to compute with."""
        return self._models[key].model

    def opening(self, key: str) -> Any:
        """A new cache of one row with the virtual tokens that every row begins with; None where there are none."""
        opening = self._models[key].opening
        return opening.cache() if opening is not None else None

    def virtual(self, key: str) -> int:
        """How many virtual tokens every row begins with, which the context holds too."""
        opening = self._models[key].opening
        return opening.tokens if opening is not None else 0

    def called(self, key: str) -> str:
        """What an answer of this model is said to be from."""
        if key == self.default:
            return self._name
        return key if key != BARE else self._base
