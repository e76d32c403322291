"""`Conversation`: what a consultation is about, out of whatever LangChain and LangGraph hand over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, convert_to_messages
from langchain_core.prompt_values import PromptValue

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.langchain.messages import to_hub_messages

__all__ = ["Conversation"]

_DOCTOR = ("assistant", "ai", "doctor")
_PATIENT = ("user", "human", "patient")
_SYSTEM = ("system", "developer")


@dataclass(frozen=True)
class Conversation:
    """The talk, and what the caller told the model about it.

    Args:
        turns: who spoke ("patient" or "doctor") and the words, in order; at least one is the patient's.
        rules: the caller's own system texts, in order.
    """

    turns: tuple[tuple[str, str], ...]
    rules: tuple[str, ...] = ()

    @classmethod
    def read(cls, given: Any) -> Conversation:
        """Read a string, a message, a list of messages, a prompt value or `{"messages": …}`.

        Results of tools and calls of tools are left out: they are neither the patient's nor the doctor's words.

        Raises:
            DataFormatError: for anything else, for content that is not text, and where no patient speaks.
        """
        turns: list[tuple[str, str]] = []
        rules: list[str] = []
        for message in to_hub_messages(_messages(given)):
            role, text = message["role"], message["content"].strip()
            if role == "tool" or not text:
                continue
            if role in _SYSTEM:
                rules.append(text)
            elif role in _PATIENT or role in _DOCTOR:
                turns.append(("patient" if role in _PATIENT else "doctor", text))
            else:
                raise DataFormatError(
                    f"Expected the role of each message to be user, assistant, system or tool, found {role!r}; "
                    "map it to one of these."
                )
        if not any(who == "patient" for who, _ in turns):
            found = "the doctor's words only" if turns else "a system message only" if rules else "no words"
            raise DataFormatError(f"Expected words of a patient, found {found}; add a user message.")
        return cls(tuple(turns), tuple(rules))

    @property
    def patient(self) -> str:
        """All that the patient said, the latest first, for a search may read the beginning only."""
        return "\n".join(text for who, text in reversed(self.turns) if who == "patient")

    def transcript(self, most: int) -> list[str]:
        """One line a turn; of a long talk, the beginning and the end.

        Args:
            most: characters that are kept.
        """
        lines = [f"{who.capitalize()}: {text}" for who, text in self.turns]
        whole = "\n".join(lines)
        if len(whole) <= most:
            return lines
        return [*whole[: most // 2].split("\n"), "…", *whole[-(most // 2) :].split("\n")]

    def messages(self) -> list[BaseMessage]:
        """The turns, as LangChain's messages."""
        return [HumanMessage(text) if who == "patient" else AIMessage(text) for who, text in self.turns]


def _messages(given: Any) -> list[BaseMessage]:
    if isinstance(given, Mapping):
        if "messages" not in given:
            raise DataFormatError(
                f"Expected a mapping with the key 'messages', found the keys {sorted(map(str, given))}; "
                "put the conversation under 'messages'."
            )
        given = given["messages"]
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, (str, BaseMessage)):
        given = [given]
    if not isinstance(given, Sequence):
        raise DataFormatError(
            f"Expected a string, a list of messages or a mapping with 'messages', found "
            f"{type(given).__name__}; pass one of these."
        )
    if not given:
        raise DataFormatError("Expected at least one message, found none; add the patient's words.")
    try:
        return convert_to_messages(given)
    except (ValueError, NotImplementedError, TypeError, KeyError):
        # Its message would repeat the patient's words.
        raise DataFormatError(
            "Expected messages as LangChain takes them (message objects, role and content), found another "
            "form; use HumanMessage and AIMessage."
        ) from None
