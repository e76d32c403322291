"""Checking what a `KnowledgeDoctor` is made of, before anything is asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from langchain_core.runnables import Runnable, RunnableBinding

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.langchain.knowledge.consultation import KeywordsFrom
from chatdoctor_hub.langchain.knowledge.evidence import PassageSource, TableSource
from chatdoctor_hub.langchain.knowledge.preparation import Reading

__all__ = ["as_table", "as_wikipedia", "check_no_tools", "check_settings"]

_TOOLS = ("tools", "tool_choice", "functions", "function_call")


def as_table(table: Any) -> TableSource | None:
    """Whatever can be searched; bare rows become a table.

    Raises:
        DataFormatError: when it has no rows.
        ConfigError: when it is neither.
    """
    if table is None:
        return None
    is_rows = isinstance(table, Sequence) and all(isinstance(row, Disease) for row in table)
    can_search = callable(getattr(table, "search", None))
    if is_rows and (not can_search or not table):
        return DiseaseTable(tuple(table))
    if can_search:
        return cast(TableSource, table)
    raise ConfigError(
        f"Expected a disease table, its index or rows, found {type(table).__name__}; use DiseaseTable.from_csv."
    )


def as_wikipedia(source: Any) -> PassageSource | None:
    """A source of passages, or none.

    Raises:
        ConfigError: when it cannot be searched.
    """
    if source is None or callable(getattr(source, "search", None)):
        return cast("PassageSource | None", source)
    raise ConfigError(
        f"Expected wikipedia to be a source with a search method, found {type(source).__name__}; "
        "use WikipediaSource()."
    )


def check_no_tools(given: Mapping[str, Any]) -> None:
    """Refuse arguments of a call that put tools within the model's reach.

    Raises:
        ConfigError: naming the first.
    """
    if named := [name for name in _TOOLS if given.get(name)]:
        raise ConfigError(
            f"Expected a model without tools, found {named[0]!r}; retrieved text must not reach a model that "
            "can act, so leave them out."
        )


def check_settings(
    model: Any, *, k: Any, keywords: Any, read: Any, max_keywords: Any, max_characters: Any
) -> None:
    """Refuse what cannot work.

    Raises:
        ConfigError: listing every setting that is out of range; or for a model that is none or has tools.
    """
    if not isinstance(model, Runnable):
        raise ConfigError(
            f"Expected a LangChain chat model, found {type(model).__name__}; pass ChatDoctor(…)."
        )
    bound: Any = model
    while isinstance(bound, RunnableBinding):
        check_no_tools(bound.kwargs)
        bound = bound.bound
    faults = [
        f"{name} must be {wanted}, found {value!r}"
        for name, value, wanted, is_good in (
            ("k", k, "a whole number of at least 1", _whole(k, 1)),
            ("keywords", keywords, "'model' or 'lexical'", keywords in get_args(KeywordsFrom)),
            ("read", read, "'lexical' or 'model'", read in get_args(Reading)),
            ("max_keywords", max_keywords, "a whole number of at least 1", _whole(max_keywords, 1)),
            ("max_characters", max_characters, "a whole number of at least 200", _whole(max_characters, 200)),
        )
        if not is_good
    ]
    if faults:
        raise ConfigError(f"Expected settings that are in range: {'; '.join(faults)}.")


def _whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least
