"""`Preparation`: all that comes before the answer, as a plan: search terms, look-up, reading, the prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.runnables import Runnable

from chatdoctor_hub.langchain.knowledge.consultation import Briefing, KeywordsFrom
from chatdoctor_hub.langchain.knowledge.conversation import Conversation
from chatdoctor_hub.langchain.knowledge.evidence import Evidence
from chatdoctor_hub.langchain.knowledge.fence import Fence
from chatdoctor_hub.langchain.knowledge.keywords import lexical_keywords, parse_keywords
from chatdoctor_hub.langchain.knowledge.prompting import KnowledgePrompts, filled
from chatdoctor_hub.langchain.knowledge.reading import chosen, narrowed, sentences_of, shares
from chatdoctor_hub.langchain.knowledge.retrieval import Failure, Found, Question
from chatdoctor_hub.langchain.knowledge.steps import Plan, Step

__all__ = ["UNSTREAMED", "Preparation", "Reading", "text_of", "usage_of"]

UNSTREAMED = ("nostream",)
"""Tag that keeps the model's raw words out of LangGraph's stream of messages: they are not checked yet."""

Reading = Literal["lexical", "model"]
"""Who chooses what is read of a passage that is too long ("lexical"), or of every passage ("model")."""

_LEAST = 100  # characters of all notes together
_LONGEST_TALK = 8_000  # characters of the talk that search terms are taken from


@dataclass
class _Notebook:
    """What is noted on the way."""

    failures: list[Failure] = field(default_factory=list)
    usage: UsageMetadata | None = None

    def fail(self, part: str, error: Exception) -> None:
        self.failures.append(Failure(part, type(error).__name__))

    def count(self, reply: Any) -> None:
        if usage := usage_of(reply):
            self.usage = add_usage(self.usage, usage)


@dataclass(frozen=True)
class Preparation:
    """The steps before the answer.

    Args:
        model: any chat model.
        search: from a `Question` to what was `Found`.
        prompts: what the steps say to the model.
        keywords: who finds the search terms.
        read: who chooses what is read.
        most_keywords: how many search terms at most.
        most_characters: characters of all notes together.
    """

    model: Runnable[Any, Any]
    search: Runnable[Question, Found]
    prompts: KnowledgePrompts
    keywords: KeywordsFrom
    read: Reading
    most_keywords: int
    most_characters: int

    def plan(self, conversation: Conversation) -> Plan[Briefing]:
        """Everything up to the prompt for the answer.

        A step that fails is noted and done without: the search terms are then the patient's own words, a
        source that cannot be asked finds nothing, and a passage is read by the words it shares with the talk.
        """
        notebook = _Notebook()
        terms = (yield from self._ask_keywords(conversation, notebook)) if self.keywords == "model" else ()
        [found] = yield Step(self.search, [Question(conversation.patient, terms)], "knowledge_search")
        if isinstance(found, Exception):
            raise found
        notebook.failures += found.failures
        passages = yield from self._read(conversation, terms, found.passages, notebook)
        return Briefing(
            conversation=conversation,
            prompt=self._prompt(conversation, passages),
            keywords=terms or lexical_keywords(conversation.patient, self.most_keywords),
            keywords_from="model" if terms else "lexical",
            passages=tuple(passages),
            failures=tuple(notebook.failures),
            usage=notebook.usage,
        )

    def shortened(self, briefing: Briefing) -> Briefing | None:
        """The briefing with half as much to read, for a model whose context it was too long for.

        Returns:
            None when so little is left that it is not the notes that are too long.
        """
        room = sum(len(passage.text) for passage in briefing.passages) // 2
        if room < _LEAST:
            return None
        question = "\n".join([*briefing.keywords, briefing.conversation.patient])
        passages = tuple(
            narrowed(passage, question, share)
            for passage, share in zip(briefing.passages, shares(briefing.passages, room), strict=True)
        )
        return replace(briefing, passages=passages, prompt=self._prompt(briefing.conversation, passages))

    def _ask_keywords(self, conversation: Conversation, notebook: _Notebook) -> Plan[tuple[str, ...]]:
        lines = [("", line) for line in conversation.transcript(_LONGEST_TALK)]
        fence = Fence.away_from(text for _, text in lines)
        request = filled(self.prompts.keywords_request, number=fence.number, talk=fence.around(lines))
        rules = filled(self.prompts.keywords_rules, most=str(self.most_keywords))
        [reply] = yield self._asking([_messages(rules, request)], "keywords")
        if isinstance(reply, Exception):
            notebook.fail("keywords", reply)
            return ()
        notebook.count(reply)
        return parse_keywords(text_of(reply), self.most_keywords)

    def _read(
        self,
        conversation: Conversation,
        terms: Sequence[str],
        passages: Sequence[Evidence],
        notebook: _Notebook,
    ) -> Plan[list[Evidence]]:
        question = "\n".join([*terms, conversation.patient])
        most = shares(passages, self.most_characters)
        read: list[Evidence | None] = [
            narrowed(passage, question, room) for passage, room in zip(passages, most, strict=True)
        ]
        if self.read == "model" and passages:
            requests = [self._reading_request(conversation, passage) for passage in passages]
            replies = yield self._asking(requests, "reading")
            for at, reply in enumerate(replies):
                if isinstance(reply, Exception):
                    notebook.fail("reading", reply)
                    continue
                notebook.count(reply)
                try:
                    read[at] = chosen(passages[at], text_of(reply), self.most_characters // len(passages))
                except ValueError:
                    continue  # what the words say stays
        return [passage for passage in read if passage is not None]

    def _reading_request(self, conversation: Conversation, passage: Evidence) -> list[BaseMessage]:
        talk = [("", line) for line in conversation.transcript(_LONGEST_TALK)]
        notes = [(f"{number}.", text) for number, text in enumerate(sentences_of(passage.text), start=1)]
        fence = Fence.away_from(text for _, text in [*talk, *notes])
        request = filled(
            self.prompts.reading_request,
            number=fence.number,
            talk=fence.around(talk),
            notes=fence.around(notes),
        )
        return _messages(self.prompts.reading_rules, request)

    def _prompt(self, conversation: Conversation, passages: Sequence[Evidence]) -> tuple[BaseMessage, ...]:
        rules = self.prompts.answer_rules if passages else self.prompts.nothing_rules
        system = SystemMessage("\n\n".join([rules, *conversation.rules]))
        talk = conversation.messages()
        if isinstance(talk[-1], AIMessage):
            talk.append(HumanMessage(self.prompts.go_on))
        if passages:
            words = str(talk[-1].content)
            notes = [(passage.citation, f"{passage.title}. {passage.text}") for passage in passages]
            said = [str(message.content) for message in [system, *talk]]
            fence = Fence.away_from([*said, *(text for _, text in notes)])
            request = filled(
                self.prompts.answer_request, number=fence.number, notes=fence.around(notes), words=words
            )
            talk[-1] = HumanMessage(request)
        return (system, *talk)

    def _asking(self, requests: Sequence[Sequence[BaseMessage]], name: str) -> Step:
        return Step(self.model, [list(request) for request in requests], name, UNSTREAMED)


def text_of(reply: Any) -> str:
    """The words of what a model returns: a message of any kind of content, or a string."""
    return str(reply.text) if isinstance(reply, BaseMessage) else str(reply)


def usage_of(reply: Any) -> UsageMetadata | None:
    """The tokens of what a model returns, where it counts them."""
    return reply.usage_metadata if isinstance(reply, AIMessage) else None


def _messages(rules: str, request: str) -> list[BaseMessage]:
    return [SystemMessage(rules), HumanMessage(request)]
