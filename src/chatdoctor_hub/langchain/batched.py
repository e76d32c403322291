"""`BatchedModel`: `batch` and `abatch` by one call of the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from langchain_core.language_models.base import LanguageModelInput
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import get_config_list

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.engine import Engine
from chatdoctor_hub.inference.types import ChatReply, ChatRequest
from chatdoctor_hub.langchain.batching import abatch_together, batch_together
from chatdoctor_hub.langchain.described import DescribedModel
from chatdoctor_hub.langchain.errors import in_both_families

__all__ = ["BatchedModel"]

# As many inputs wait for each other at most, each in a thread of its own.
_WIDEST = 128


class BatchedModel(DescribedModel):
    """A chat model whose batches are computed together; see `batching`."""

    async def _aengine(self) -> Engine:
        ready = self.engine if self.engine is not None else self.loader.loaded(self._choice)
        return ready if ready is not None else await asyncio.to_thread(self._engine)

    def batch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """The answers to several inputs, computed together; each input keeps a run of its own.

        `max_concurrency` in the config limits how many are computed together.
        """
        configs = get_config_list(config, len(inputs)) if inputs else []
        outcomes: list[Any] = []
        for part in _parts_of(configs):
            calls = [partial(self.invoke, inputs[at], configs[at], **kwargs) for at in part]
            outcomes += batch_together(self, calls, self._compute)
            _raise_first(outcomes, return_exceptions)
        return outcomes

    async def abatch(
        self,
        inputs: list[LanguageModelInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`batch`, without blocking the event loop."""
        configs = get_config_list(config, len(inputs)) if inputs else []
        outcomes: list[Any] = []
        for part in _parts_of(configs):
            calls = [partial(self.ainvoke, inputs[at], configs[at], **kwargs) for at in part]
            outcomes += await abatch_together(self, calls, self._acompute)
            _raise_first(outcomes, return_exceptions)
        return outcomes

    def _compute(self, requests: list[ChatRequest]) -> list[ChatReply | Exception]:
        return self._engine().generate_batch(requests, return_exceptions=True)

    async def _acompute(self, requests: list[ChatRequest]) -> list[ChatReply | Exception]:
        return await (await self._aengine()).agenerate_batch(requests, return_exceptions=True)


def _parts_of(configs: Sequence[RunnableConfig]) -> Iterator[range]:
    """Ranges of inputs that are computed together.

    Raises:
        ConfigError: for a `max_concurrency` below 0; 0 and None stand for no limit.
    """
    width = (configs[0].get("max_concurrency") if configs else None) or _WIDEST
    if width < 0:
        with in_both_families():
            raise ConfigError(f"Expected max_concurrency to be at least 1, found {width}; leave it out.")
    width = min(width, _WIDEST)
    for start in range(0, len(configs), width):
        yield range(start, min(start + width, len(configs)))


def _raise_first(outcomes: Sequence[Any], return_exceptions: bool) -> None:
    """As LangChain does it: errors are returned when that was asked for, else the first is raised."""
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not (return_exceptions and isinstance(outcome, Exception)):
            raise outcome
