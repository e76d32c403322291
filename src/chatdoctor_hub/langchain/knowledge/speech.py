"""From what a model says to checked messages: whole, or in pieces while it speaks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import UsageMetadata, add_usage

from chatdoctor_hub.langchain.knowledge.consultation import AnswerWriter, Briefing, Consultation
from chatdoctor_hub.langchain.knowledge.preparation import text_of, usage_of
from chatdoctor_hub.langchain.knowledge.prompting import KnowledgePrompts

__all__ = ["Speech", "spoken"]


class Speech:
    """A streamed answer: chunks of the model's in, checked chunks out.

    Args:
        briefing: what the model was given.
        prompts: the sentences that say that nothing was found.
    """

    def __init__(self, briefing: Briefing, prompts: KnowledgePrompts) -> None:
        self._briefing = briefing
        self._writer = AnswerWriter(briefing, prompts)
        self._whole: Any = None

    @property
    def is_silent(self) -> bool:
        """Whether the model has said nothing yet."""
        return self._whole is None

    def begin(self) -> Iterator[AIMessageChunk]:
        """What is said before the model's words, if anything."""
        if text := self._writer.begin():
            yield AIMessageChunk(content=text)

    def add(self, piece: Any) -> Iterator[AIMessageChunk]:
        """What became certain with the model's next chunk, if anything."""
        self._whole = piece if self._whole is None else self._whole + piece
        if text := self._writer.feed(text_of(piece)):
            yield AIMessageChunk(content=text, id=getattr(piece, "id", None))

    def end(self) -> AIMessageChunk:
        """The last chunk: the rest of the text, and all metadata."""
        rest = self._writer.flush()
        return AIMessageChunk(
            content=rest,
            id=getattr(self._whole, "id", None),
            response_metadata=_metadata(self._whole, self._writer.consultation()),
            usage_metadata=_usage(self._briefing, self._whole),
            chunk_position="last",
        )


def spoken(briefing: Briefing, prompts: KnowledgePrompts, reply: Any) -> tuple[Consultation, AIMessage]:
    """A whole answer, checked, as a value and as a message."""
    writer = AnswerWriter(briefing, prompts)
    text = writer.begin() + writer.feed(text_of(reply)) + writer.flush()
    consultation = writer.consultation()
    message = AIMessage(
        content=text,
        id=getattr(reply, "id", None),
        response_metadata=_metadata(reply, consultation),
        usage_metadata=_usage(briefing, reply),
    )
    return consultation, message


def _metadata(reply: Any, consultation: Consultation) -> dict[str, Any]:
    return {**getattr(reply, "response_metadata", {}), "knowledge": consultation.to_record()}


def _usage(briefing: Briefing, reply: Any) -> UsageMetadata | None:
    """The tokens of all calls together, where the model counts them."""
    told = usage_of(reply)
    return add_usage(briefing.usage, told) if briefing.usage or told else None
