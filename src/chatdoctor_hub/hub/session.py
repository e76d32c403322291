"""`Session`: one client of the Hub, calls that are repeated where that helps, and errors in our own words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

from chatdoctor_hub import __version__
from chatdoctor_hub.errors import (
    ChatDoctorError,
    HubAccessError,
    HubConflictError,
    HubError,
    HubNotFoundError,
    HubUnreachableError,
)

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from tenacity import RetryCallState

__all__ = ["Session", "in_our_words", "is_lost", "status_of"]

_TRIES = 5
_LONGEST_WAIT = 120.0
"""Seconds; a Hub that asks for more is not waited for."""
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
# Names, because huggingface_hub 1 is built on httpx and 2 on httpx2.
_LOST = frozenset({"TimeoutException", "NetworkError", "RemoteProtocolError"})
_NO_CLIENT = ("'NoneType' object has no attribute 'request'", "'NoneType' object has no attribute 'stream'")
Result = TypeVar("Result")


class Session:
    """One `HfApi`, with what this library calls itself, and how its calls are repeated.

    Args:
        endpoint: address of the Hub; HF_ENDPOINT, or the public Hub, by default.
        token: an access token; HF_TOKEN, or the one that was logged in with, by default; False for none.
    """

    def __init__(self, endpoint: str | None = None, token: str | bool | None = None) -> None:
        from huggingface_hub import HfApi

        self.api: HfApi = HfApi(
            endpoint=endpoint, token=token, library_name="chatdoctor-hub", library_version=__version__
        )

    @property
    def endpoint(self) -> str:
        """The address of the Hub."""
        return str(self.api.endpoint)

    @property
    def token(self) -> str | None:
        """The token that calls carry, None where there is none."""
        from huggingface_hub import get_token

        if self.api.token is False:
            return None
        return self.api.token if isinstance(self.api.token, str) else get_token()

    def url(self, repo: str, type: str = "model") -> str:
        """The page of a repository."""
        return f"{self.endpoint}/{'datasets/' if type == 'dataset' else ''}{repo}"

    def ask(self, what: str, call: Callable[[], Result]) -> Result:
        """What a call that may be made twice returns; it is repeated while the fault is a passing one.

        429 and 5xx, timeouts and broken connections pass. `Retry-After` is heeded. What huggingface_hub has
        repeated itself is not repeated again.

        Args:
            what: the thing asked for, for messages: "me/x", "the settings of me/x".
            call: of `api`.

        Raises:
            HubError: or one of its kinds.
        """
        from tenacity import Retrying, retry_if_exception, stop_after_attempt

        retrying = Retrying(
            retry=retry_if_exception(_may_pass),
            stop=stop_after_attempt(_TRIES),
            wait=_pause,
            reraise=True,
        )
        with in_our_words(what, self):
            return retrying(call)

    def once(self, what: str, call: Callable[[], Result]) -> Result:
        """What a call returns that must not be made twice blindly; see `ask`."""
        with in_our_words(what, self):
            return call()


def status_of(error: BaseException | None) -> int | None:
    """The HTTP status behind an error, None where there was no answer."""
    from huggingface_hub.errors import HfHubHTTPError

    for cause in _causes(error):
        if isinstance(cause, HfHubHTTPError):
            return int(cause.response.status_code)
        if (response := getattr(cause, "response", None)) is not None:
            return int(getattr(response, "status_code", 0)) or None
    return None


def is_lost(error: BaseException | None) -> bool:
    """Whether a request may have been carried out although it failed: no answer came, or one of 5xx."""
    if any(_is_connection(cause) for cause in _causes(error)):
        return True
    status = status_of(error)
    return status is not None and status in _PASSING


def _may_pass(error: BaseException) -> bool:
    if not is_lost(error) or _asked_wait(error) > _LONGEST_WAIT:
        return False
    return not _was_repeated(error)


def _was_repeated(error: BaseException) -> bool:
    """Whether huggingface_hub has tried more than once itself, which it does for some requests.

    Which ones differs between its versions (1.31 asks once for the list of files, 2.4 six times), so it is read off
    its loop in the traceback. Where that cannot be found the request is made more often, and no harm is done.
    """
    for cause in _causes(error):
        trace = cause.__traceback__
        while trace is not None:
            frame, trace = trace.tb_frame, trace.tb_next
            if frame.f_code.co_name == "_http_backoff_base" and frame.f_locals.get("nb_tries", 0) > 1:
                return True
    return False


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came of; threads and our own words wrap them."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _is_connection(error: BaseException) -> bool:
    # When one thread of huggingface_hub cannot connect, it closes the client that its others are using, and one that
    # asks for it in that moment gets None.
    is_closed = (isinstance(error, RuntimeError) and "client has been closed" in str(error)) or (
        isinstance(error, AttributeError) and str(error).startswith(_NO_CLIENT)
    )
    return is_closed or bool(_LOST & {kind.__name__ for kind in type(error).__mro__})


def _asked_wait(error: BaseException | None) -> float:
    """Seconds that the Hub asked to wait, 0 where it asked for nothing."""
    for cause in _causes(error):
        headers = getattr(getattr(cause, "response", None), "headers", None) or {}
        asked = str(headers.get("Retry-After") or "").strip()
        if asked.isdigit():
            return float(asked)
        if asked:
            try:
                until = parsedate_to_datetime(asked)
            except ValueError:
                return 0.0
            until = until if until.tzinfo else until.replace(tzinfo=timezone.utc)
            return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    return 0.0


def _pause(state: RetryCallState) -> float:
    from tenacity import wait_exponential_jitter

    outcome = state.outcome
    asked = _asked_wait(outcome.exception() if outcome else None)
    return asked or wait_exponential_jitter(initial=0.5, max=8)(state)


@contextmanager
def in_our_words(what: str, session: Session) -> Iterator[None]:
    """Turn what huggingface_hub, httpx and hf_xet raise into errors of ours."""
    try:
        yield
    except ChatDoctorError:
        raise
    except Exception as error:
        told = _told(error, what, session)
        if told is None:
            raise
        raise told from error


def _told(error: Exception, what: str, session: Session) -> ChatDoctorError | None:
    from huggingface_hub import errors

    endpoint = session.endpoint
    if isinstance(error, errors.OfflineModeIsEnabled):
        return HubUnreachableError(
            f"{what}: expected to reach the Hub at {endpoint}, found HF_HUB_OFFLINE set; unset it, or use what is on "
            "this machine."
        )
    if isinstance(error, errors.HFValidationError):
        return HubError(
            f"{what}: expected a repo id such as 'me/my-model' (letters, digits, '-', '_' and '.', at most 96), found "
            "another; choose another name."
        )
    if isinstance(error, errors.GatedRepoError):
        return HubAccessError(
            f"{what}: expected to be let in, found a gate; accept the terms on {endpoint}, and use a token of that "
            "account."
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubNotFoundError(
            f"{what}: expected a branch, tag or commit of that name, found none on {endpoint}; check the revision."
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubNotFoundError(
            f"{what}: expected a repository on {endpoint}, found none of that name, or none for this token; check the "
            "name, or log in with `hf auth login`."
        )
    status = status_of(error)
    if status is not None:
        return _of_status(status, what, endpoint, error)
    # hf_xet raises Python's own errors, after it has tried for minutes itself.
    if any(
        _is_connection(cause) or isinstance(cause, (ConnectionError, TimeoutError))
        for cause in _causes(error)
    ):
        return HubUnreachableError(
            f"{what}: expected the Hub to answer at {endpoint}, found a broken connection "
            f"({type(error).__name__}); nothing is lost: do the same again later."
        )
    if isinstance(error, (errors.RemoteEntryNotFoundError, errors.LocalEntryNotFoundError)):
        return HubNotFoundError(
            f"{what}: expected its files on the Hub or on this machine, found none that can be had now; check the "
            "network and HF_HUB_OFFLINE."
        )
    return None


def _of_status(status: int, what: str, endpoint: str, error: Exception) -> HubError:
    said = str(getattr(error, "server_message", None) or "").strip().rstrip(".")
    said = f"{status}, {said}" if said else str(status)
    if status in (401, 403):
        return HubAccessError(
            f"{what}: expected a token that may do this at {endpoint}, found {said}; use one with write rights "
            "(`hf auth login`, or HF_TOKEN)."
        )
    if status in (409, 412):
        return HubConflictError(
            f"{what}: expected it as it was a moment ago, found a change ({said}); look at it, then do the same again."
        )
    if status in _PASSING:
        return HubUnreachableError(
            f"{what}: expected an answer from {endpoint}, found {said} again and again; nothing is lost: do the same "
            "again later."
        )
    if status == 404:
        return HubNotFoundError(f"{what}: expected it on {endpoint}, found {said}; check the name.")
    return HubError(f"{what}: expected {endpoint} to take the request, found {said}; correct what it names.")
