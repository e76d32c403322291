"""`KnowledgeDoctor`: the autonomous ChatDoctor, which looks things up before it answers and shows where.

After the "knowledge brain" of ChatDoctor (arXiv 2303.14070, section on the autonomous ChatDoctor): the model names
search terms, they are looked up in a disease table and in Wikipedia, what was found is read, and one answer is made.
What is different here: the whole talk counts; the patient's own words are always searched as well; only passages
that match are used; and every citation in the answer is checked against what was retrieved.

It is a `Runnable` and no graph: its steps are in a fixed order and keep no state between calls, so a graph would
add a dependency and a compiled object, and nothing that LCEL does not give. It can be a node of a graph.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, TypeVar, cast

from langchain_core.exceptions import ContextOverflowError
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda

from chatdoctor_hub.errors import ContextLengthError
from chatdoctor_hub.knowledge import Disease, DiseaseTable
from chatdoctor_hub.langchain.knowledge.arguments import (
    as_table,
    as_wikipedia,
    check_no_tools,
    check_settings,
)
from chatdoctor_hub.langchain.knowledge.consultation import Briefing, Consultation, KeywordsFrom
from chatdoctor_hub.langchain.knowledge.conversation import Conversation
from chatdoctor_hub.langchain.knowledge.evidence import PassageSource, TableSource
from chatdoctor_hub.langchain.knowledge.preparation import (
    UNSTREAMED,
    Preparation,
    Reading,
)
from chatdoctor_hub.langchain.knowledge.prompting import KnowledgePrompts
from chatdoctor_hub.langchain.knowledge.retrieval import Retrieval
from chatdoctor_hub.langchain.knowledge.speech import Speech, spoken
from chatdoctor_hub.langchain.knowledge.steps import Plan, Step, arun_plans, run_plans

__all__ = ["KnowledgeDoctor"]

_TOO_LONG = (ContextLengthError, ContextOverflowError)

_T = TypeVar("_T")
_Answer = tuple[Consultation, AIMessage]


class KnowledgeDoctor(Runnable[Any, AIMessage]):
    """A doctor that looks things up: any chat model, a disease table and, if you like, Wikipedia.

        doctor = KnowledgeDoctor(ChatDoctor(model="runs/quickstart/release"))
        message = doctor.invoke("My head throbs and light hurts my eyes.")
        message.content                             # … [table:98]
        message.response_metadata["knowledge"]      # keywords, passages, citations, …

    Takes a string, a message, a list of messages, a prompt value or `{"messages": …}`. Retrieved text is data:
    it stands between two lines with a random number in the last user message, never in the system message; it
    is cleaned of what a chat template could take for a mark; and no tools are within the model's reach. This
    narrows what a text with instructions in it can do. It does not make a model immune to what it reads; the
    check of the citations does not depend on the model.

    `batch` makes the calls of all inputs together, step by step. Streams are checked as they are written, and
    the last chunk carries the metadata. The model's own runs are tagged "nostream", so that LangGraph streams
    the checked message and not the raw words.

    Args:
        model: any LangChain chat model, or a runnable over one (`with_retry`, `bind`); its own safety prompt,
            such as `ChatDoctor`'s, stays applied to every call.
        table: a `DiseaseTable`, a `DiseaseIndex` or rows; with neither table nor Wikipedia, the starter table.
        wikipedia: a `WikipediaSource` or what searches like one.
        k: passages of each source, at most.
        keywords: "model" asks the model for search terms, "lexical" saves that call.
        read: "lexical" narrows passages that are too long to the sentences that share words with the talk,
            "model" asks the model which sentences of each passage matter.
        max_keywords: search terms, at most.
        max_characters: characters of all passages together that the model is shown; about 4 make a token. When
            the prompt is too long for the model's context, it is asked again with half as much to read.
        prompts: the texts of the steps; those of the package by default.
        name: of the runs, in traces.

    Raises:
        ConfigError: for settings out of range, a model that is none, or one with tools bound to it.
        DataFormatError: for a table without rows.
    """

    def __init__(
        self,
        model: Runnable[Any, Any],
        table: TableSource | Sequence[Disease] | None = None,
        wikipedia: PassageSource | None = None,
        *,
        k: int = 3,
        keywords: KeywordsFrom = "model",
        read: Reading = "lexical",
        max_keywords: int = 12,
        max_characters: int = 4_000,
        prompts: KnowledgePrompts | None = None,
        name: str | None = None,
    ) -> None:
        check_settings(
            model, k=k, keywords=keywords, read=read, max_keywords=max_keywords, max_characters=max_characters
        )
        self.name = name
        self._model = model
        self._prompts = prompts or KnowledgePrompts.load()
        if table is None and wikipedia is None:
            table = DiseaseTable.starter()
        retrieval = Retrieval(as_table(table), as_wikipedia(wikipedia), k)
        self._preparation = Preparation(
            model=model,
            search=RunnableLambda(retrieval.search),
            prompts=self._prompts,
            keywords=keywords,
            read=read,
            most_keywords=max_keywords,
            most_characters=max_characters,
        )

    # One answer

    def consult(self, messages: Any, config: RunnableConfig | None = None, **given: Any) -> Consultation:
        """The answer and what it rests on, as a typed value; see `invoke`."""
        run = cast(Any, self._call_with_config)
        return cast(Consultation, run(self._consult, messages, config, **given))

    async def aconsult(
        self, messages: Any, config: RunnableConfig | None = None, **given: Any
    ) -> Consultation:
        """`consult`, without blocking the event loop."""
        run = cast(Any, self._acall_with_config)
        return cast(Consultation, await run(self._aconsult, messages, config, **given))

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """The answer as a message.

        Args:
            input: the conversation.
            config: as for every runnable; callbacks see the model's runs and the search.
            kwargs: for the call that answers, such as `max_tokens`.

        Raises:
            DataFormatError: when the input is no conversation, or no patient speaks in it.
            ConfigError: when tools are given.
            Exception: what the model raises when it cannot answer.
        """
        return self._call_with_config(self._answer, input, config, **kwargs)

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AIMessage:
        """`invoke`, without blocking the event loop."""
        return await self._acall_with_config(self._aanswer, input, config, **kwargs)

    def _consult(self, given: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Consultation:
        return _only(run_plans([self._plan(given, kwargs)], [config]))[0]

    async def _aconsult(
        self, given: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> Consultation:
        return _only(await arun_plans([self._plan(given, kwargs)], [config]))[0]

    def _answer(self, given: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> AIMessage:
        return _only(run_plans([self._plan(given, kwargs)], [config]))[1]

    async def _aanswer(
        self, given: Any, run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> AIMessage:
        return _only(await arun_plans([self._plan(given, kwargs)], [config]))[1]

    # Many answers

    def batch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """The answers to several conversations; their calls of the model are made together, step by step."""
        return self._batch_with_config(
            self._answers, inputs, config, return_exceptions=return_exceptions, **kwargs
        )

    async def abatch(
        self,
        inputs: list[Any],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[AIMessage]:
        """`batch`, without blocking the event loop."""
        return await self._abatch_with_config(
            self._aanswers, inputs, config, return_exceptions=return_exceptions, **kwargs
        )

    def _answers(
        self, inputs: list[Any], run_manager: Any, config: list[RunnableConfig], **kwargs: Any
    ) -> list[Exception | AIMessage]:
        outcomes = run_plans([self._plan(given, kwargs) for given in inputs], config)
        return [outcome if isinstance(outcome, Exception) else outcome[1] for outcome in outcomes]

    async def _aanswers(
        self, inputs: list[Any], run_manager: Any, config: list[RunnableConfig], **kwargs: Any
    ) -> list[Exception | AIMessage]:
        outcomes = await arun_plans([self._plan(given, kwargs) for given in inputs], config)
        return [outcome if isinstance(outcome, Exception) else outcome[1] for outcome in outcomes]

    # Streams

    def stream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[AIMessageChunk]:
        """The answer in pieces; joined, they are what `invoke` says. What may be a citation is held back."""
        run = self._transform_stream_with_config(iter([input]), self._stream, config, **kwargs)
        yield from cast("Iterator[AIMessageChunk]", run)

    async def astream(
        self, input: Any, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[AIMessageChunk]:
        """`stream`, without blocking the event loop."""

        async def inputs() -> AsyncIterator[Any]:
            yield input

        run = self._atransform_stream_with_config(inputs(), self._astream, config, **kwargs)
        async for chunk in run:
            yield cast(AIMessageChunk, chunk)

    def _stream(
        self, inputs: Iterator[Any], run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> Iterator[AIMessage]:
        briefing = _only(run_plans([self._brief(next(inputs), kwargs)], [config]))
        while True:
            speech = Speech(briefing, self._prompts)
            step = self._asking(briefing, kwargs)
            told: Any = self._model.stream(step.inputs[0], step.configs(config)[0], **kwargs)
            try:
                with closing(told):
                    yield from speech.begin()
                    for piece in told:
                        yield from speech.add(piece)
                break
            except _TOO_LONG as error:
                briefing = self._shortened(briefing, speech.is_silent, error)
        yield speech.end()

    async def _astream(
        self, inputs: AsyncIterator[Any], run_manager: Any, config: RunnableConfig, **kwargs: Any
    ) -> AsyncIterator[AIMessage]:
        given = await anext(inputs)
        briefing = _only(await arun_plans([self._brief(given, kwargs)], [config]))
        while True:
            speech = Speech(briefing, self._prompts)
            step = self._asking(briefing, kwargs)
            told: Any = self._model.astream(step.inputs[0], step.configs(config)[0], **kwargs)
            try:
                async with aclosing(told):
                    for chunk in speech.begin():
                        yield chunk
                    async for piece in told:
                        for chunk in speech.add(piece):
                            yield chunk
                break
            except _TOO_LONG as error:
                briefing = self._shortened(briefing, speech.is_silent, error)
        yield speech.end()

    # The plan of all of these

    def _plan(self, given: Any, kwargs: Mapping[str, Any]) -> Plan[_Answer]:
        briefing = yield from self._brief(given, kwargs)
        [reply] = yield self._asking(briefing, kwargs)
        while isinstance(reply, _TOO_LONG):
            briefing = self._shortened(briefing, True, reply)
            [reply] = yield self._asking(briefing, kwargs)
        if isinstance(reply, Exception):
            raise reply
        return spoken(briefing, self._prompts, reply)

    def _brief(self, given: Any, kwargs: Mapping[str, Any]) -> Plan[Briefing]:
        check_no_tools(kwargs)
        return (yield from self._preparation.plan(Conversation.read(given)))

    def _shortened(self, briefing: Briefing, is_silent: bool, error: Exception) -> Briefing:
        """With less to read, unless words were streamed already or the notes are not what is too long."""
        shorter = self._preparation.shortened(briefing) if is_silent else None
        if shorter is None:
            raise error
        return shorter

    def _asking(self, briefing: Briefing, kwargs: Mapping[str, Any]) -> Step:
        return Step(self._model, [list(briefing.prompt)], "answer", UNSTREAMED, kwargs)


def _only(outcomes: Sequence[_T | Exception]) -> _T:
    [outcome] = outcomes
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
