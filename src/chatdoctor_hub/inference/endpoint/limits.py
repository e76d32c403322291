"""How long a server may take, and how often it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference.endpoint.faults import may_pass
from chatdoctor_hub.inference.sampling import is_whole

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState, Retrying

__all__ = ["Limits"]

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 20.0
_LONGEST = 1_000_000.0
"""Seconds (eleven days); sockets cannot count much further."""


@dataclass(frozen=True)
class Limits:
    """How long a server may take, and how often it is asked.

    Args:
        timeout: seconds that one attempt may take, from the connection to the end of the answer.
        chunk_timeout: seconds that a stream may be silent, its first piece included.
        max_retries: how often a request is made again, after 429, 502, 503, 504 and lines that break; never after
            the first piece of a stream.
        retry_seconds: no attempt begins later than this after the first one did.
        max_connections: how many requests are on their way at once, in each event loop, and in all threads together.

    Raises:
        ConfigError: listing every one that is out of range.
    """

    timeout: float = 120.0
    chunk_timeout: float = 60.0
    max_retries: int = 4
    retry_seconds: float = 60.0
    max_connections: int = 64

    def __post_init__(self) -> None:
        faults = [
            f"{name} must be a number of seconds above 0 and up to {_LONGEST:,.0f}, found {getattr(self, name)!r}"
            for name in ("timeout", "chunk_timeout", "retry_seconds")
            if isinstance(getattr(self, name), bool)
            or not isinstance(getattr(self, name), (int, float))
            or not 0 < getattr(self, name) <= _LONGEST
        ]
        faults += [
            f"{name} must be a whole number of at least {least}, found {getattr(self, name)!r}"
            for name, least in (("max_retries", 0), ("max_connections", 1))
            if not is_whole(getattr(self, name), least)
        ]
        if faults:
            raise ConfigError(f"Expected limits that are in range: {'; '.join(faults)}.")

    def retrying(self, began: float) -> Retrying:
        """What makes a call again while its fault is a passing one.

        Args:
            began: time.monotonic() at which the first attempt did.
        """
        from tenacity import Retrying

        return Retrying(**self._rules(began))

    def retrying_async(self, began: float) -> AsyncRetrying:
        """`retrying` for coroutines."""
        from tenacity import AsyncRetrying

        return AsyncRetrying(**self._rules(began))

    def _rules(self, began: float) -> dict[str, Any]:
        from tenacity import retry_if_exception, stop_after_attempt, stop_before_delay

        left = self.retry_seconds - (time.monotonic() - began)
        return {
            "retry": retry_if_exception(may_pass),
            # What a server asks to wait counts: a longer wait than there is time for is not begun.
            "stop": stop_after_attempt(self.max_retries + 1) | stop_before_delay(left),
            "wait": _pause(),
            "reraise": True,
        }


def _pause() -> Callable[[RetryCallState], float]:
    """`Retry-After` where there is one, else a random time up to a limit that doubles (full jitter)."""
    from tenacity import wait_random_exponential

    jitter = wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT)

    def pause(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = getattr(error, "retry_after", None)
        return float(asked) if asked is not None else float(jitter(state))

    return pause
