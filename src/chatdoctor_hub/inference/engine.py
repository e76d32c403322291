"""`Engine`: the protocol every engine follows, and the one place where the prompt pair is applied."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Literal, Protocol, overload, runtime_checkable

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, Form
from chatdoctor_hub.prompts import PromptPair

__all__ = ["Engine", "apply_prompt", "as_pair", "check_characters", "check_messages"]

DEFAULT_PROMPT = "chatdoctor@1"

_SYSTEM_ROLES = ("system", "developer")
_ROLES = (*_SYSTEM_ROLES, "user", "assistant", "tool")


@runtime_checkable
class Engine(Protocol):
    """Something that answers conversations.

    Every method that takes a request applies the engine's prompt pair in the form the request names, so
    no caller can forget the safety prompt. Greedy answers do not depend on what they are batched with.
    Closing a stream, or cancelling an asynchronous call, stops the generation at the next token.

    All of them raise `DataFormatError` for messages that are no conversation, `ContextLengthError` for a
    prompt that does not fit, and `GenerationError` when the model fails.
    """

    def generate(self, request: ChatRequest) -> ChatReply:
        """The whole answer to one request."""
        ...

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    def generate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    def generate_batch(self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False) -> Any:
        """The answers to several requests, in their order, computed together.

        With `return_exceptions`, a request that cannot be answered has its error in its place and the
        others are answered; without it, the first error is raised and nothing is computed.
        """
        ...

    def stream(self, request: ChatRequest) -> Iterator[ChatDelta]:
        """The answer in pieces; the last one has the finish reason and the usage."""
        ...

    async def agenerate(self, request: ChatRequest) -> ChatReply:
        """`generate`, without blocking the event loop."""
        ...

    @overload
    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[False] = False
    ) -> list[ChatReply]: ...

    @overload
    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: Literal[True]
    ) -> list[ChatReply | Exception]: ...

    async def agenerate_batch(
        self, requests: Sequence[ChatRequest], *, return_exceptions: bool = False
    ) -> Any:
        """`generate_batch`, without blocking the event loop."""
        ...

    def astream(self, request: ChatRequest) -> AsyncIterator[ChatDelta]:
        """`stream`, without blocking the event loop."""
        ...

    def count_tokens(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        form: Form = "serving",
    ) -> int:
        """Tokens of the prompt that these messages and tools become, in the given form."""
        ...

    def describe(self) -> EngineInfo:
        """What this engine is and runs on."""
        ...

    def close(self) -> None:
        """Let go of the model; further calls raise `GenerationError`. Closing twice is fine."""
        ...

    async def aclose(self) -> None:
        """`close`, without blocking the event loop."""
        ...


def apply_prompt(pair: PromptPair, request: ChatRequest) -> list[dict[str, Any]]:
    """The messages a model is to see: the request's, with the pair merged in, in the form it names.

    This is the only place where an engine applies a prompt.

    Raises:
        DataFormatError: when the messages are no conversation.
    """
    return pair.render_messages(check_messages(request.messages), request.form)


def check_messages(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages as new dictionaries, once they are known to be a conversation.

    Raises:
        DataFormatError: for no messages, only system messages, a role that does not exist, or content
            that is not text, or breaks off within a character; the number in the message counts from 0.
    """
    checked: list[dict[str, Any]] = []
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or "role" not in message:
            raise DataFormatError(
                f"Expected message {number} to be a mapping with 'role' and 'content', found "
                f"{sorted(map(str, message)) if isinstance(message, Mapping) else type(message).__name__}; "
                "use the Hub's messages format."
            )
        role = message["role"]
        if role not in _ROLES:
            raise DataFormatError(
                f"Expected the role of message {number} to be system, user, assistant or tool, "
                f"found {role!r}; map it to one of these."
            )
        content = message.get("content")
        if not isinstance(content, str) and not (content is None and message.get("tool_calls")):
            raise DataFormatError(
                f"Expected the content of message {number} ({role}) to be text, found "
                f"{type(content).__name__}; turn it into one string first."
            )
        check_characters(content or "", f"the content of message {number} ({role})")
        checked.append({**message, "content": content or ""})
    if not checked:
        raise DataFormatError("Expected at least one message, found none; add what the patient says.")
    if all(message["role"] in _SYSTEM_ROLES for message in checked):
        raise DataFormatError(
            "Expected a message besides the system message, found none; add what the patient says."
        )
    return checked


def check_characters(text: str, what: str) -> None:
    """Make sure that a text is made of whole characters, as tokenizers and servers need it.

    Args:
        text: what may come from a program that cuts texts by UTF-16 units, and emoji with them.
        what: it is, for messages.

    Raises:
        DataFormatError: for a surrogate without its other half.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # Not from that error, which holds the text.
        raise DataFormatError(
            f"Expected {what} to be whole characters, found half of one (a surrogate without its other half); "
            "cut texts between characters."
        ) from None


def as_pair(prompt: str | PromptPair | None) -> PromptPair:
    """The pair that is meant: itself, the one of that id, or the default one.

    Raises:
        UnknownPromptError: when there is no pair of that id.
    """
    if isinstance(prompt, PromptPair):
        return prompt
    return PromptPair.load(prompt if prompt is not None else DEFAULT_PROMPT)
