"""`Consultation`: an answer and what it rests on; and how the answer is written down while the model speaks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from langchain_core.messages import BaseMessage
from langchain_core.messages.ai import UsageMetadata

from chatdoctor_hub.langchain.knowledge.citations import CitationCheck
from chatdoctor_hub.langchain.knowledge.conversation import Conversation
from chatdoctor_hub.langchain.knowledge.evidence import Evidence
from chatdoctor_hub.langchain.knowledge.prompting import KnowledgePrompts
from chatdoctor_hub.langchain.knowledge.retrieval import Failure

__all__ = ["AnswerWriter", "Briefing", "Consultation", "KeywordsFrom"]

KeywordsFrom = Literal["model", "lexical"]
"""Who found the keywords: the model, or a list of the words that carry meaning."""


@dataclass(frozen=True)
class Briefing:
    """All that is settled before the model answers.

    Args:
        conversation: what it is about.
        prompt: what the model is asked.
        keywords, keywords_from, passages, failures: see `Consultation`.
        usage: tokens of the calls so far, where the model counts them.
    """

    conversation: Conversation
    prompt: tuple[BaseMessage, ...]
    keywords: tuple[str, ...]
    keywords_from: KeywordsFrom
    passages: tuple[Evidence, ...]
    failures: tuple[Failure, ...] = ()
    usage: UsageMetadata | None = None


@dataclass(frozen=True)
class Consultation:
    """An answer and what it rests on.

    Args:
        answer: the text, with the citations that were checked.
        keywords: what was looked for beside the patient's own words.
        keywords_from: who found them.
        passages: what was retrieved and shown to the model, the best first.
        citations: the ids that the answer cites, each once, in order; all are ids of `passages`.
        invented_citations: how many citations of the model's were removed.
        nothing_found: no passage was found; the answer begins by saying so.
        failures: what did not work and was done without.
        prompts: id of the prompts of the steps.
        prompts_sha256: their digest.
    """

    answer: str
    keywords: tuple[str, ...]
    keywords_from: KeywordsFrom
    passages: tuple[Evidence, ...]
    citations: tuple[str, ...]
    invented_citations: int
    nothing_found: bool
    failures: tuple[Failure, ...]
    prompts: str
    prompts_sha256: str

    def to_record(self) -> dict[str, Any]:
        """What a message carries in `response_metadata["knowledge"]`: JSON-able, without any text of passages."""
        return {
            "keywords": list(self.keywords),
            "keywords_from": self.keywords_from,
            "passages": [passage.to_record() for passage in self.passages],
            "citations": list(self.citations),
            "invented_citations": self.invented_citations,
            "nothing_found": self.nothing_found,
            "failures": [{"part": failure.part, "error": failure.error} for failure in self.failures],
            "prompts": self.prompts,
            "prompts_sha256": self.prompts_sha256,
        }


class AnswerWriter:
    """Writes an answer down as the model speaks: what has to be said first, then the words with checked citations.

    Args:
        briefing: what the model was given.
        prompts: the sentences that say that nothing was found.
    """

    def __init__(self, briefing: Briefing, prompts: KnowledgePrompts) -> None:
        self._briefing = briefing
        self._prompts = prompts
        self._check = CitationCheck(passage.id for passage in briefing.passages)
        self._opening = "" if briefing.passages else _opening(briefing, prompts)
        self._written: list[str] = []

    def begin(self) -> str:
        """What is said before the model's words."""
        return self._noted(self._opening)

    def feed(self, text: str) -> str:
        """Add words of the model's; returns what may be shown of them."""
        return self._noted(self._check.feed(text))

    def flush(self) -> str:
        """The rest of the answer."""
        return self._noted(self._check.flush())

    def consultation(self) -> Consultation:
        """The whole, once it is finished."""
        briefing = self._briefing
        return Consultation(
            answer="".join(self._written),
            keywords=briefing.keywords,
            keywords_from=briefing.keywords_from,
            passages=briefing.passages,
            citations=self._check.kept,
            invented_citations=self._check.invented,
            nothing_found=not briefing.passages,
            failures=briefing.failures,
            prompts=self._prompts.id,
            prompts_sha256=self._prompts.sha256,
        )

    def _noted(self, text: str) -> str:
        if text and self._opening and len(self._written) == 1:
            text = f"\n\n{text}"
        if text:
            self._written.append(text)
        return text


def _opening(briefing: Briefing, prompts: KnowledgePrompts) -> str:
    is_reached = not any(failure.part in ("table", "wikipedia") for failure in briefing.failures)
    return prompts.nothing_found if is_reached else prompts.nothing_reached
