"""`Sources`: what a recipe is made from on the Hub, at one commit each, with the licences that are stated there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatdoctor_hub.cards import find_licence
from chatdoctor_hub.corpus import SourceConfig
from chatdoctor_hub.hub.session import Session
from chatdoctor_hub.release.sections import describe_data
from chatdoctor_hub.training.recipe import RecipeConfig

if TYPE_CHECKING:
    from huggingface_hub import DatasetInfo, ModelInfo

__all__ = ["Sources", "find_sources"]


@dataclass(frozen=True)
class Sources:
    """The sources of a recipe as they are now.

    Args:
        config: the recipe, with the commits and licences of its data.
        models: commit by id: the base, and what Safe LoRA compares.
        base_licence: as the base's card states it; "" where it does not.
    """

    config: RecipeConfig
    models: Mapping[str, str]
    base_licence: str

    @property
    def commits(self) -> dict[str, str]:
        """Of models and data sets, by id."""
        data = {source.path: source.revision or "" for source in _data(self.config)}
        return {**self.models, **data}


def find_sources(session: Session, config: RecipeConfig) -> Sources:
    """Ask the Hub for what a recipe names.

    Args:
        session: of whoever runs the recipe.
        config: the recipe; its base and data are ids on the Hub.

    Raises:
        HubNotFoundError: when one is not there, or not for this account.
        HubError: or another of its kinds.
    """
    names = [config.base]
    if config.safe_lora:
        names += [config.safe_lora.unaligned, config.safe_lora.aligned or config.base]
    found = {name: _asked(session, name, session.api.model_info) for name in dict.fromkeys(names)}
    changes: dict[str, object] = {"data": tuple(_at_a_commit(session, source) for source in config.data)}
    if config.validation:
        changes["validation"] = _at_a_commit(session, config.validation)
    if config.safety_mix and config.safety_mix.data:
        _asked(session, config.safety_mix.data, session.api.dataset_info)  # it has no field for a commit
    return Sources(
        config.model_copy(update=changes),
        {name: str(info.sha) for name, info in found.items()},
        _licence_of(found[config.base]),
    )


def _data(config: RecipeConfig) -> Iterable[SourceConfig]:
    return (*config.data, *((config.validation,) if config.validation else ()))


def _at_a_commit(session: Session, source: SourceConfig) -> SourceConfig:
    info = _asked(session, source.path, lambda id: session.api.dataset_info(id, revision=source.revision))
    (known,) = describe_data([source], {}, "")["sources"]
    stated = source.licence if find_licence(known["licence"]) else _licence_of(info) or source.licence
    return source.model_copy(update={"revision": str(info.sha), "licence": stated})


def _asked(
    session: Session, name: str, ask: Callable[[str], ModelInfo | DatasetInfo]
) -> ModelInfo | DatasetInfo:
    return session.ask(name, lambda: ask(name))


def _licence_of(info: ModelInfo | DatasetInfo) -> str:
    stated = info.card_data.get("license") if info.card_data else None
    if isinstance(stated, list) and len(stated) == 1:
        stated = stated[0]
    return stated if isinstance(stated, str) else ""
