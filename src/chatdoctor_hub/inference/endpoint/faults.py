"""What a server's refusal means, in our errors; and what of its words may be repeated."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from chatdoctor_hub.errors import (
    ContextLengthError,
    EndpointAccessError,
    EndpointBusyError,
    EndpointError,
    EndpointNotFoundError,
    EndpointRequestError,
    EndpointServerError,
    EndpointTimeoutError,
    GenerationError,
)

__all__ = ["fault_in", "fault_of", "may_pass", "no_chat_server", "retry_after_of", "told", "unreadable"]

_PASSING = frozenset({429, 502, 503, 504})
_LONGEST = 200
_WORD = re.compile(r"\w+")
_ESCAPE = re.compile(r"\\+(?:u([0-9a-fA-F]{4})|[abfnrtv])")
# What servers say about requests in general; anything else is repeated only if the conversation does not have it.
_COMMON = """a an and are as at be been body but by can cannot could does error expected failed field for found from
got given has have if in incorrect input inputs invalid is it json less limit long length lower max maximum message
messages missing model more must new no not of on one only or parameter please reduce request required response role
should size strictly string supported system than that the their then there this to token tokens too tool tools total
type unknown user validation value was were with you your"""
_HARMLESS = frozenset(_COMMON.split())
_TOO_LONG = re.compile(
    r"context (?:length|window|size)|context_length_exceeded|exceed_context_size|maximum context"
    r"|must have less than \d+ tokens|`?max_new_tokens`? must be <=|`truncate`|input is too long|prompt is too long"
    r"|longer than the maximum model length",
    re.IGNORECASE,
)
_COUNTS = tuple(
    # The groups are "limit" and "found", the tokens of the prompt (where that is not told, with those of the answer).
    re.compile(pattern, re.IGNORECASE | re.DOTALL)
    for pattern in (
        # TGI
        r"must have less than (?P<limit>\d+) tokens\. Given: (?P<found>\d+)",
        r"must be <= (?P<limit>\d+)\. Given: (?P<found>\d+) `?inputs`? tokens",
        # OpenAI, vLLM, SGLang, llama-cpp-python
        r"maximum context length (?:is|of) (?P<limit>\d+) tokens.*?"
        r"(?P<found>\d+) (?:tokens )?(?:in|from) the (?:messages|input)",
        r"maximum context length is (?P<limit>\d+) tokens.*?"
        r"(?:requested|resulted in|contains at least|request has|prompt contains(?: at least)?) (?P<found>\d+)",
        # vLLM, by its versions
        r"prompt \(length (?P<found>\d+)\) is longer than the maximum model length of (?P<limit>\d+)",
        r"passed (?P<found>\d+) input tokens.*?context length is only (?P<limit>\d+) tokens",
        # SGLang; Mistral
        r"input \((?P<found>\d+) tokens\) is longer than the model's context length \((?P<limit>\d+)",
        r"contains (?P<found>\d+) tokens.*?model with (?P<limit>\d+) maximum context length",
        # llama-cpp-python; llama.cpp
        r"Requested tokens \((?P<found>\d+)\) exceed context window of (?P<limit>\d+)",
        r"request \((?P<found>\d+) tokens\) exceeds the available context size \((?P<limit>\d+)",
    )
)
_OVERLOADED = ("overloaded", "rate_limit", "rate limit", "queue_full")


def may_pass(error: BaseException) -> bool:
    """Whether the same request may do well a little later: 429, 502, 503, 504, and lines that break."""
    from chatdoctor_hub.errors import EndpointConnectionError

    if isinstance(error, (EndpointConnectionError, EndpointBusyError)):
        return True
    return isinstance(error, EndpointError) and error.status in _PASSING


def told(detail: str, private: Iterable[str] = ()) -> str:
    """A server's own words, short, in one line, and without any word of the conversation.

    Servers quote what they were sent as JSON or Python has it, line breaks written out, and cut it anywhere.

    Args:
        detail: what it says.
        private: texts of the conversation.
    """
    line = " ".join(_unescaped(detail).split())
    if not line or line.startswith("<"):
        return ""
    cut = line[:_LONGEST].rstrip(". ") + ("…" if len(line) > _LONGEST else "")
    theirs = {word for text in private for word in _WORD.findall(_unescaped(text).casefold())} - _HARMLESS

    def kept(match: re.Match[str]) -> str:
        word = match[0].casefold()
        quoted = word in theirs or (
            word not in _HARMLESS and any(their.startswith(word) or their.endswith(word) for their in theirs)
        )
        return "…" if quoted else match[0]

    return _WORD.sub(kept, cut)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)) if found[1] else " ", text)


def retry_after_of(value: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for (a number, or a date), None where it asks for nothing."""
    value = (value or "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
        return seconds if 0 <= seconds < float("inf") else None
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _detail(body: Any) -> tuple[str, str, Mapping[str, Any]]:
    """What is said, of what kind, and the rest of it: of the forms that TGI, OpenAI-likes and FastAPI use."""
    error = body.get("error", body.get("detail", body.get("message"))) if isinstance(body, Mapping) else body
    outer = body if isinstance(body, Mapping) else {}
    if isinstance(error, list):
        places = [item for item in error if isinstance(item, Mapping)]
        words = "; ".join(f"{item.get('loc', '')}: {item.get('msg', '')}" for item in places)
        return words, str(outer.get("error_type") or ""), outer
    if isinstance(error, Mapping):
        kind = " ".join(str(error.get(name) or "") for name in ("type", "code"))
        return str(error.get("message") or ""), kind, error
    return str(error or ""), str(outer.get("error_type") or outer.get("type") or ""), outer


def fault_of(
    status: int, body: bytes, where: str, private: Iterable[str] = (), retry_after: float | None = None
) -> GenerationError:
    """The error that an answer with a status of 300 and above stands for.

    Args:
        status: of the answer.
        body: of the answer, as it came.
        where: the address, for the message.
        private: texts of the conversation, none of which is repeated.
        retry_after: seconds that the server asks to wait.
    """
    text = body[:65536].decode("utf-8", "replace")
    try:
        parsed: Any = json.loads(text)
    except (ValueError, RecursionError):
        parsed = text
    return _fault(status, parsed, where, private, retry_after)


def fault_in(chunk: Mapping[str, Any], where: str, private: Iterable[str] = ()) -> GenerationError:
    """The error that stands in an answer whose status is 200."""
    _, kind, rest = _detail(chunk)
    status = rest.get("http_status_code", rest.get("status_code", rest.get("code")))
    if not isinstance(status, int) or not 400 <= status <= 599:
        status = {"validation": 422, "overloaded": 429, "generation": 424}.get(kind.strip(), 500)
    return _fault(status, chunk, where, private, None)


def _fault(
    status: int, body: Any, where: str, private: Iterable[str], retry_after: float | None
) -> GenerationError:
    said, kind, rest = _detail(body)
    if status in (400, 413, 422, 424, 500) and _TOO_LONG.search(f"{said} {kind}"):
        return _too_long(said, rest, where)
    if any(word in f"{kind} {said[:80]}".lower() for word in _OVERLOADED):
        status = 429
    words = told(said, private)
    found = f"{status} ({words})" if words else str(status)
    more: dict[str, Any] = {"status": status, "retry_after": retry_after}
    if status in (401, 403, 407):
        return EndpointAccessError(
            f"{where}: expected to be let in, found {found}; give api_key for this address.", **more
        )
    if status in (429, 503):
        return EndpointBusyError(
            f"{where}: expected it to have room, found {found}; try again later.", **more
        )
    if status in (404, 410):
        return EndpointNotFoundError(
            f"{where}: expected a chat server with that model, found {found}; check base_url, model and adapter.",
            **more,
        )
    if status in (408, 504):
        return EndpointTimeoutError(
            f"{where}: expected an answer in time, found {found}; try again later.", **more
        )
    if 300 <= status < 400:
        return EndpointNotFoundError(
            f"{where}: expected a chat server, found that it has moved ({found}); give its new address as base_url.",
            **more,
        )
    if status < 500 and status != 424:
        return EndpointRequestError(
            f"{where}: expected the server to take the request, found {found}; correct what it names.", **more
        )
    return EndpointServerError(f"{where}: expected an answer, found {found}; see the server's log.", **more)


def _too_long(said: str, rest: Mapping[str, Any], where: str) -> ContextLengthError:
    limit, found = rest.get("n_ctx"), rest.get("n_prompt_tokens")
    for pattern in _COUNTS:
        if match := pattern.search(said):
            limit, found = int(match["limit"]), int(match["found"])
            break
    room = f"in the {limit} tokens of the context" if isinstance(limit, int) else "in the context"
    size = f"one of {found} tokens" if isinstance(found, int) else "one that is too long"
    return ContextLengthError(
        f"Expected a prompt that leaves room for an answer {room} of the model at {where}, found {size}; shorten the "
        "conversation, or ask for fewer tokens."
    )


def unreadable(
    where: str, found: str, text_so_far: str = "", status: int | None = 200
) -> EndpointServerError:
    """The error for an answer that is none.

    Args:
        where: the address.
        found: what is wrong with it; nothing of its words.
        text_so_far: what the model had written before.
        status: of the answer.
    """
    return EndpointServerError(
        f"{where}: expected an answer of the Messages API, found {found}; check that base_url is a chat server's.",
        status=status,
        text_so_far=text_so_far,
    )


def no_chat_server(where: str, found: str, status: int | None = None) -> EndpointNotFoundError:
    """The error for an address that something else lives at."""
    return EndpointNotFoundError(
        f"{where}: expected a chat server, found {found}; give the address of the server itself as base_url.",
        status=status,
    )
