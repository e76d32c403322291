"""Making a class of this package one that LangChain can write down and read back (`langchain_core.load`)."""

from __future__ import annotations

from langchain_core.load.load import ALL_SERIALIZABLE_MAPPINGS
from langchain_core.load.serializable import Serializable

__all__ = ["make_loadable"]


def make_loadable(kind: type[Serializable]) -> None:
    """Put a class among those that `load(…, allowed_objects="all", valid_namespaces=["chatdoctor_hub"])` makes.

    LangChain keeps a list of what may be made from a file; it is complete only for its own packages. The class
    must have been imported before the first call of `load`.
    """
    where = tuple(kind.lc_id())
    ALL_SERIALIZABLE_MAPPINGS[where] = where
