"""From the arguments of one call to the request that an engine answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from langchain_core.messages import BaseMessage

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.sampling import Sampling
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest
from chatdoctor_hub.langchain.final_answer import FinalAnswer
from chatdoctor_hub.langchain.messages import check_answers_calls, to_hub_messages
from chatdoctor_hub.langchain.safety import form_of
from chatdoctor_hub.langchain.settings import check_known
from chatdoctor_hub.langchain.tools import to_choice, to_schema, to_tools

__all__ = ["CALL", "SAMPLING", "Call", "settings_of", "to_call"]

SAMPLING = tuple(field.name for field in fields(Sampling) if field.name != "stop")
"""The settings of a model that `Sampling` takes under the same name; `stop` is merged apart."""

CALL = (
    *SAMPLING,
    "stop",
    "tools",
    "tool_choice",
    "strict",
    "response_format",
    "logprobs",
    "top_logprobs",
    "model",
)
"""What can be given to a single call, or bound."""

# LangChain leaves `stream` among the arguments when a caller asks for it.
_LEFT_BY_LANGCHAIN = ("stream",)


@dataclass(frozen=True)
class Call:
    """A request, and how to read the answer.

    Args:
        request: what the engine is asked.
        answer: the tool that stands for the answer, where tools and a form of the answer are asked for together.
    """

    request: ChatRequest
    answer: FinalAnswer | None = None

    def reply(self, reply: ChatReply) -> ChatReply:
        """The reply as the caller meant it."""
        return self.answer.in_reply(reply) if self.answer is not None else reply

    def delta(self, delta: ChatDelta) -> ChatDelta:
        """A piece of the reply as the caller meant it."""
        return self.answer.in_delta(delta) if self.answer is not None else delta


def to_call(
    llm: Any, name: str, messages: Sequence[BaseMessage], stop: list[str] | None, given: Mapping[str, Any]
) -> Call:
    """What is asked of the engine.

    Args:
        llm: the chat model, which has a default for every setting.
        name: of its model.
        messages: the conversation.
        stop: strings that end the answer; None for the model's own.
        given: the arguments of the call.

    Raises:
        ConfigError: for unknown arguments, values out of range, tools that are none, or a choice among them
            that does not exist.
        DataFormatError: for messages that a text model cannot take, and answers of tools without a call.
    """
    settings, answer = settings_of(llm, name, stop, given)
    check_answers_calls(messages)
    return Call(ChatRequest(messages=to_hub_messages(messages), **settings), answer)


def settings_of(
    llm: Any, name: str, stop: list[str] | None, given: Mapping[str, Any]
) -> tuple[dict[str, Any], FinalAnswer | None]:
    """All of a request but its messages; with them, what decides on the answer.

    Raises:
        ConfigError: as `to_call`.
    """
    check_known("call", given, (*CALL, *_LEFT_BY_LANGCHAIN))
    sampling = {field: _or(given.get(field), getattr(llm, field)) for field in SAMPLING}
    stops: Any = _or(_or(stop, given.get("stop")), llm.stop) or ()
    model = given.get("model")
    made: dict[str, Any] = {
        "sampling": Sampling(**sampling, stop=stops),
        "form": form_of(llm.safety),
        "adapter": model if model not in (None, name, llm.model) else llm.adapter,
        "overflow": llm.overflow,
        "logprobs": _logprobs(
            _or(given.get("logprobs"), llm.logprobs), _or(given.get("top_logprobs"), llm.top_logprobs)
        ),
    }
    asked, answer = _tools(given)
    return {**made, **asked}, answer


def _tools(given: Mapping[str, Any]) -> tuple[dict[str, Any], FinalAnswer | None]:
    tools = to_tools(given.get("tools") or (), given.get("strict"))
    choice = to_choice(given.get("tool_choice"), tools) or "auto"
    form = to_schema(given.get("response_format"))
    if form is None:
        return {"tools": tuple(tools), "tool_choice": choice}, None
    if not tools or choice == "none":
        return {"response_schema": form[1]}, None
    if choice != "auto":
        # A call is required, so this turn is no answer and needs no form.
        return {"tools": tuple(tools), "tool_choice": choice}, None
    answer = FinalAnswer(*form, frozenset(str(tool["function"]["name"]) for tool in tools))
    return {"tools": (*tools, answer.tool), "tool_choice": "required"}, answer


def _logprobs(wanted: bool | None, top: int | None) -> int | None:
    if top is not None and wanted is False:
        raise ConfigError(
            "Expected top_logprobs together with logprobs=True, found logprobs=False; give both."
        )
    if top is not None:
        return top
    return 0 if wanted else None


def _or(value: Any, other: Any) -> Any:
    return other if value is None else value
