"""One call of a teacher: structured where it can be, retried while the fault may pass, never without end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential_jitter,
)

from chatdoctor_hub.errors import ConfigError

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

__all__ = [
    "Caller",
    "Reply",
    "is_passing",
    "check_teacher",
    "is_permanent",
    "parse_reply",
    "supports_structure",
    "teacher_name",
]

_PASSING_STATUS = frozenset({408, 409, 425, 429})
_ONE_TASK_STATUS = frozenset({400, 413, 422})
_PASSING_NAME = re.compile(
    r"RateLimit|Timeout|TimedOut|Connect|Overloaded|Unavailable|InternalServer|RemoteProtocol|ReadError|Exhausted|"
    r"TooManyRequests|Throttl|ServerError"
)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")
_CUT_OFF = frozenset({"length", "max_tokens", "MAX_TOKENS"})
_LONGEST_WAIT = 60.0
Prompt = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Reply:
    """What came back.

    Args:
        value: the parsed answer, or None.
        text: the answer as text, for showing it to the teacher again.
        fault: why there is no value ("unreadable", "cut off", "empty"), or "".
        usage: "input_tokens" and "output_tokens" where the teacher counts them.
    """

    value: BaseModel | None
    text: str
    fault: str
    usage: dict[str, int]


class Caller:
    """Calls one teacher.

    Args:
        teacher: any LangChain chat model.
        structured: whether to ask for structured output; None finds out. Where the first call shows that the
            model does not take it after all, JSON in text is asked for.
        timeout: seconds for one call.
        retries: how often a call is made again after a fault that may pass.
        backoff: seconds before the first of these; the wait doubles, with jitter, up to 60.
        limiter: LangChain's rate limiter, or None.
    """

    def __init__(
        self,
        teacher: BaseChatModel,
        *,
        structured: bool | None,
        timeout: float,
        retries: int,
        backoff: float,
        limiter: Any = None,
    ) -> None:
        self._teacher, self._timeout, self._limiter = teacher, timeout, limiter
        self._structured = supports_structure(teacher) if structured is None else structured
        self._chains: dict[type[BaseModel], Runnable[Any, Any]] = {}
        self._retries, self._backoff = retries, backoff
        self._proven = False
        self.calls = 0
        self.retried = 0

    async def ask(self, prompt: Prompt, schema: type[BaseModel]) -> Reply:
        """Ask once, with retries.

        Raises:
            Exception: the last one that the teacher raised, when it does not pass.
        """
        retrying = AsyncRetrying(
            stop=stop_after_attempt(self._retries + 1),
            wait=self._wait,
            retry=retry_if_exception(is_passing),
            before_sleep=self._count_retry,
            reraise=True,
        )
        reply: Reply = await retrying(self._once, prompt, schema)
        return reply

    async def _once(self, prompt: Prompt, schema: type[BaseModel]) -> Reply:
        if self._limiter is not None:
            await self._limiter.aacquire()
        try:
            answer = await self._call(prompt, schema)
        except Exception as error:
            # Many servers take tools for some of their models only, and say so with the first call.
            if not self._structured or self._proven or not _is_about_the_request(error):
                raise
            self._structured = False
            answer = await self._call(prompt, schema)
        self._proven = True
        message = answer["raw"] if isinstance(answer, dict) else answer
        parsed = answer.get("parsed") if isinstance(answer, dict) else None
        return _reply(message, parsed, schema)

    async def _call(self, prompt: Prompt, schema: type[BaseModel]) -> Any:
        self.calls += 1
        chain = self._chain(schema) if self._structured else self._teacher
        return await asyncio.wait_for(chain.ainvoke(list(prompt)), self._timeout)

    def _chain(self, schema: type[BaseModel]) -> Runnable[Any, Any]:
        if schema not in self._chains:
            self._chains[schema] = self._teacher.with_structured_output(schema, include_raw=True)
        return self._chains[schema]

    def _wait(self, state: RetryCallState) -> float:
        """What the service asks for, or an exponential wait."""
        error = state.outcome.exception() if state.outcome else None
        asked = _retry_after(error)
        if asked is not None:
            return min(asked, _LONGEST_WAIT)
        if not self._backoff:
            return 0.0
        exponential = wait_exponential_jitter(initial=self._backoff, max=_LONGEST_WAIT, jitter=self._backoff)
        return float(exponential(state))

    def _count_retry(self, _: RetryCallState) -> None:
        self.retried += 1


def _reply(message: Any, parsed: Any, schema: type[BaseModel]) -> Reply:
    usage = getattr(message, "usage_metadata", None) or {}
    counts = {key: int(usage.get(key) or 0) for key in ("input_tokens", "output_tokens")} if usage else {}
    text = str(message.text) if hasattr(message, "text") else str(getattr(message, "content", message))
    calls = getattr(message, "tool_calls", None)
    shown = text or (json.dumps(calls[0]["args"], ensure_ascii=False) if calls else "")
    about = getattr(message, "response_metadata", None) or {}
    if {str(about.get(key)) for key in ("finish_reason", "stop_reason", "done_reason")} & _CUT_OFF:
        return Reply(None, shown, "cut off", counts)
    value = parsed if isinstance(parsed, schema) else parse_reply(shown, schema)
    fault = "" if value is not None else "unreadable" if shown.strip() else "empty"
    return Reply(value, shown, fault, counts)


def parse_reply(text: str, schema: type[BaseModel]) -> BaseModel | None:
    """The first JSON object in a text that fits the schema, or None.

    Understood are objects inside prose or code fences, after a model's thoughts, with line breaks inside
    strings and with trailing commas. An object that is cut off is not completed.
    """
    plain = _THOUGHT.sub(" ", text)
    for candidate in dict.fromkeys((plain, _TRAILING_COMMA.sub(r"\1", plain))):
        for value in _objects(candidate):
            try:
                return schema.model_validate(value)
            except ValidationError:
                continue
    return None


def _objects(text: str) -> list[Any]:
    """Every JSON object or list that begins somewhere in a text and is whole, outermost first."""
    decoder, found, place = json.JSONDecoder(strict=False), [], 0
    for _ in range(200):
        starts = [at for mark in "{[" if (at := text.find(mark, place)) >= 0]
        if not starts:
            break
        place = min(starts)
        try:
            value, place = decoder.raw_decode(text, place)
            found.append(value)
        except (ValueError, RecursionError):
            place += 1
    return found


def check_teacher(teacher: object) -> None:
    """Refuse what is no chat model.

    Raises:
        ConfigError: naming what was given.
    """
    from langchain_core.language_models import BaseChatModel

    if not isinstance(teacher, BaseChatModel):
        raise ConfigError(
            f"Expected a LangChain chat model as teacher, found {type(teacher).__name__}; pass one, such as "
            "init_chat_model('provider:model')."
        )


def supports_structure(teacher: BaseChatModel) -> bool:
    """Whether a chat model has structured output, told from its class without calling it."""
    from langchain_core.language_models import BaseChatModel

    kind = type(teacher)
    own_structure = kind.with_structured_output is not BaseChatModel.with_structured_output
    return own_structure or kind.bind_tools is not BaseChatModel.bind_tools


def teacher_name(teacher: BaseChatModel) -> str:
    """The model's own name, or that of its class; never a key or an address."""
    names: tuple[str, ...] = ("model_name", "model", "model_id", "deployment_name", "repo_id")
    for name in names:
        value = getattr(teacher, name, None)
        if isinstance(value, str) and value.strip():
            return value.strip().removeprefix("models/")
    return type(teacher).__name__


def is_passing(error: BaseException) -> bool:
    """Whether a fault may pass by itself: rate limits, timeouts, connections, faults of a server."""
    status = _status(error)
    if status is not None:
        return status in _PASSING_STATUS or status >= 500
    if isinstance(error, (TimeoutError, asyncio.TimeoutError, ConnectionError)):
        return True
    return any(_PASSING_NAME.search(kind.__name__) for kind in type(error).__mro__)


def is_permanent(error: BaseException) -> bool:
    """Whether every further call would end the same way: no key, no such model, a fault of the program."""
    status = _status(error)
    if status is not None:
        return 400 <= status < 500 and status not in _PASSING_STATUS | _ONE_TASK_STATUS
    return isinstance(error, (NotImplementedError, TypeError, ImportError, AttributeError, NameError))


def _is_about_the_request(error: BaseException) -> bool:
    return isinstance(error, NotImplementedError) or _status(error) in _ONE_TASK_STATUS


def _status(error: BaseException | None) -> int | None:
    """The HTTP status of an error of any client, where it has one."""
    homes = (error, getattr(error, "response", None))
    values = [
        getattr(home, name, None)
        for home in homes
        for name in ("status_code", "status", "code", "http_status")
    ]
    return next((value for value in values if isinstance(value, int) and 100 <= value < 600), None)


def _retry_after(error: BaseException | None) -> float | None:
    """The seconds that a service asks to wait, where it says so."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    get: Callable[[str], Any] | None = getattr(headers, "get", None)
    try:
        seconds = float(get("retry-after")) if get else -1.0
    except (TypeError, ValueError):
        return None
    return seconds if seconds >= 0 else None
