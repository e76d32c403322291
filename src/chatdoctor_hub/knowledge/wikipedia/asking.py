"""One request to a MediaWiki API with its attempts and waits: `PoliteAsker`.

The rules are Wikimedia's (www.mediawiki.org/wiki/API:Etiquette): one request at a time, and waiting as
long as the server asks to.

Nothing that is asked is logged: a search may hold a patient's words. `httpx` logs every address, so the
query joins it in the transport, below that level.
"""

from __future__ import annotations

import json
import re
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.errors import ChatDoctorError, DataError, DataFormatError

if TYPE_CHECKING:
    import ssl

    import httpx
    from tenacity import RetryCallState

__all__ = ["PoliteAsker", "address_of"]

_MOST_BYTES = 8 * 2**20  # of an answer; the longest pages have less than 1 MB of text
_ATTEMPTS = 4
_FIRST_WAIT = 0.5  # seconds, doubled each time
_LONGEST_WAIT = 8.0  # seconds, where the server names none
_COME_LATER = ("maxlag", "ratelimited", "readonly")
_QUERY = "chatdoctor_hub.query"


class _TransientError(Exception):
    """What may be better a moment later.

    Args:
        found: for the message.
        wait: seconds the server asks to wait, or None.
    """

    def __init__(self, found: str, wait: float | None = None) -> None:
        super().__init__(found)
        self.wait = wait


class PoliteAsker:
    """Asks one address; threads take turns.

    Args:
        endpoint: of `api.php`.
        timeout: seconds for one attempt.
        patience: seconds for one request with all its attempts and waits.
    """

    def __init__(self, endpoint: str, timeout: float, patience: float) -> None:
        self._endpoint = endpoint
        self.timeout = timeout
        self._patience = patience
        self._turn = threading.Lock()
        self._closed_until = 0.0  # by time.monotonic

    def transport(self) -> httpx.HTTPTransport:
        """What a client needs that is given to `ask`."""
        return _quiet_transport(_proxy_for(self._endpoint))

    def ask(self, client: httpx.Client, params: Mapping[str, Any]) -> dict[str, Any]:
        """The answer to one request, after as many attempts as it needs.

        Raises:
            DataError: when none comes, or the server refuses.
            DataFormatError: when it is none of a MediaWiki API.
        """
        with self._turn:
            return self._ask(client, params)

    def _ask(self, client: httpx.Client, params: Mapping[str, Any]) -> dict[str, Any]:
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, stop_before_delay

        try:
            closed = self._closed_until - time.monotonic()
            if closed > self._patience:
                raise _TransientError("that it asked for a longer pause before", closed)
            time.sleep(max(0.0, closed))
            retrying = Retrying(
                retry=retry_if_exception_type(_TransientError),
                wait=_wait,
                stop=stop_after_attempt(_ATTEMPTS) | stop_before_delay(self._patience),
                reraise=True,
            )
            answer: dict[str, Any] = retrying(self._attempt, client, params)
            return answer
        except _TransientError as error:
            later = "search again later, or check the network"
            if error.wait is not None:
                self._closed_until = time.monotonic() + error.wait
                later = f"it asks to wait {max(1, round(error.wait))} seconds, search again then"
            raise DataError(
                f"Expected an answer from {address_of(self._endpoint)}, found {error}; {later}."
            ) from error

    def _attempt(self, client: httpx.Client, params: Mapping[str, Any]) -> dict[str, Any]:
        import httpx

        began = time.monotonic()
        body = bytearray()
        try:
            with client.stream("GET", self._endpoint, extensions={_QUERY: dict(params)}) as response:
                self._check_status(response)
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise self.garbled()
                    if time.monotonic() - began > self.timeout:
                        raise _TransientError(f"no end of it after {self.timeout:g} seconds")
        except httpx.TimeoutException as error:
            raise _TransientError(f"none within {self.timeout:g} seconds") from error
        except httpx.DecodingError as error:
            raise self.garbled(error) from error
        except httpx.TransportError as error:
            raise _TransientError(f"no connection, or one that broke off ({type(error).__name__})") from error
        return self._checked(bytes(body), response.headers)

    def _check_status(self, response: httpx.Response) -> None:
        status = response.status_code
        if status == 429 or status >= 500:
            raise _TransientError(f"the HTTP status {status}", _retry_after(response.headers))
        if status != 200:
            advice = (
                "give a user_agent that says how to reach you"
                if status == 403
                else "check the language and the endpoint"
            )
            raise DataError(
                f"Expected an answer from {address_of(self._endpoint)}, found the HTTP status {status}; {advice}."
            )

    def _checked(self, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        """The answer, unless it tells of an error.

        The error's own text is left out of messages, for it may repeat what was asked.
        """
        try:
            answer = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise self.garbled(error) from None
        if not isinstance(answer, dict):
            raise self.garbled()
        if (fault := answer.get("error")) is None:
            return answer
        code = str(fault.get("code", "")) if isinstance(fault, dict) else ""
        code = code if re.fullmatch(r"[\w-]{1,60}", code) else "unknown"
        if code in _COME_LATER:
            raise _TransientError(f"the error {code!r}", _retry_after(headers))
        raise DataError(
            f"Expected an answer from {address_of(self._endpoint)}, found the error {code!r}; "
            "ask in other words, or check that it is a wiki with search and text extracts."
        )

    def garbled(self, error: Exception | None = None) -> ChatDoctorError:
        """The error for an answer that cannot be understood."""
        detail = f" ({type(error).__name__})" if error is not None else ""
        return DataFormatError(
            f"Expected the JSON of a MediaWiki API from {address_of(self._endpoint)}, found something "
            f"else{detail}; check the endpoint, and whether the network asks to sign in."
        )


def address_of(endpoint: str) -> str:
    """The address for messages, without the name and password that it may hold."""
    parts = urllib.parse.urlsplit(endpoint)
    return urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _quiet_transport(proxy: str | None) -> httpx.HTTPTransport:
    import httpx

    class QuietTransport(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked = request.extensions.pop(_QUERY, {})
            whole = httpx.Request(
                request.method,
                request.url.copy_merge_params(asked),
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
            return super().handle_request(whole)

    return QuietTransport(proxy=proxy, verify=_tls())


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes longer than many a request; once is enough."""
    import httpx

    return httpx.create_ssl_context()


def _proxy_for(endpoint: str) -> str | None:
    """The proxy of the environment; the package takes none by itself once it has a transport."""
    parts = urllib.parse.urlsplit(endpoint)
    host = parts.hostname or ""
    if host in ("localhost", "127.0.0.1", "::1") or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked = error.wait if isinstance(error, _TransientError) else None
    return asked if asked is not None else min(_FIRST_WAIT * 2 ** (state.attempt_number - 1), _LONGEST_WAIT)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: the header gives them, or a date."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None
