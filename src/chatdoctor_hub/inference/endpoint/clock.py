"""`Clock`: how long a server may still take over one request, and connections of threads that heed it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

__all__ = ["Clock", "ClockedTransport"]


class Clock:
    """Time that is left for one request; what the reader of a stream does between its pieces is not counted.

    Args:
        whole: seconds that all of it may take.
        silence: seconds that the server may be silent.
    """

    def __init__(self, whole: float, silence: float) -> None:
        self.silence = silence
        self._heard = time.monotonic()
        self._deadline = self._heard + whole

    @property
    def is_over(self) -> bool:
        """Whether the whole has taken too long."""
        return time.monotonic() > self._deadline

    @property
    def is_silent(self) -> bool:
        """Whether the server has said nothing of use for too long."""
        return time.monotonic() - self._heard > self.silence

    def left(self) -> float:
        """Seconds that may pass until the next byte; none is left where that is not above 0."""
        return min(self.silence, self._deadline - time.monotonic())

    def heard(self) -> None:
        """Something of use has come."""
        self._heard = time.monotonic()

    def shorten(self, seconds: float) -> None:
        """Leave no more than so many seconds for what is to come."""
        self._deadline = min(self._deadline, time.monotonic() + seconds)

    def pause(self, seconds: float) -> None:
        """Take off what was no waiting."""
        self._heard += seconds
        self._deadline += seconds


class ClockedTransport(httpx.HTTPTransport):
    """Pooled connections of threads, where each read takes as long as its request's `Clock` has left.

    A time-out of httpx is one for each read: a server that sends a byte now and then, of its headers too, would never
    be given up. A clock stands in a request's extensions, in the place of the seconds of "read" and "write".

    Args:
        settings: of httpx's transport.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._pool._network_backend = _Backend()


class _Backend(httpcore.SyncBackend):
    def connect_tcp(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        return _Stream(super().connect_tcp(*args, **named))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        return _Stream(super().connect_unix_socket(path, timeout, socket_options))


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | Clock | None = None) -> bytes:
        return self._stream.read(max_bytes, _seconds(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | Clock | None = None) -> None:
        self._stream.write(buffer, _seconds(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(self, *args: Any, **named: Any) -> httpcore.NetworkStream:
        return _Stream(self._stream.start_tls(*args, **named))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


def _seconds(timeout: float | Clock | None, late: type[Exception]) -> float | None:
    if not isinstance(timeout, Clock):
        return timeout
    left = timeout.left()
    if left <= 0:
        raise late("no time is left")
    return left
