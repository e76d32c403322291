"""The waits and the words of `Session`, without a server."""

from __future__ import annotations

import time
from email.utils import formatdate
from types import SimpleNamespace

import pytest

from chatdoctor_hub.errors import HubError, HubUnreachableError
from chatdoctor_hub.hub.session import Session, is_lost, status_of


class NetworkError(Exception):
    """As httpx names it, of either generation."""


class StatusError(Exception):
    def __init__(self, status: int, **headers: str) -> None:
        self.response = SimpleNamespace(
            status_code=status, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )


def failing(times: int, error: Exception) -> SimpleNamespace:
    made = SimpleNamespace(count=0)

    def call() -> str:
        made.count += 1
        if made.count <= times:
            raise error
        return "done"

    made.call = call
    return made


def without_client() -> Exception:
    """What a thread of huggingface_hub meets when another one closes their client."""
    client = None
    try:
        client.request("GET", "http://127.0.0.1:1")  # type: ignore[attr-defined]
    except AttributeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        NetworkError(),
        StatusError(503),
        StatusError(429),
        StatusError(408),
        RuntimeError("Cannot send a request, as the client has been closed."),
        without_client(),
    ],
)
def test_what_passes_is_tried_again(error: Exception, at_once: list[float]) -> None:
    made = failing(4, error)
    assert Session("http://127.0.0.1:1").ask("x", made.call) == "done"
    assert made.count == 5
    assert len(at_once) == 4
    assert all(0 < wait < 10 for wait in at_once)


@pytest.mark.parametrize("error", [StatusError(400), StatusError(403), StatusError(412)])
def test_what_does_not_pass_is_told_at_once(error: Exception, at_once: list[float]) -> None:
    made = failing(1, error)
    with pytest.raises(HubError):
        Session("http://127.0.0.1:1").ask("x", made.call)
    assert made.count == 1


def test_it_ends(at_once: list[float]) -> None:
    made = failing(100, NetworkError())
    with pytest.raises(HubUnreachableError, match=r"x: expected the Hub to answer at http://127\.0\.0\.1:1"):
        Session("http://127.0.0.1:1").ask("x", made.call)
    assert made.count == 5


def test_retry_after_as_a_date(at_once: list[float]) -> None:
    made = failing(1, StatusError(429, Retry_After=formatdate(time.time() + 30, usegmt=True)))
    Session("http://127.0.0.1:1").ask("x", made.call)
    assert at_once == [pytest.approx(29.5, abs=1.5)]


@pytest.mark.parametrize("asked", ["soon", "-1", ""])
def test_retry_after_that_says_nothing(asked: str, at_once: list[float]) -> None:
    Session("http://127.0.0.1:1").ask("x", failing(1, StatusError(503, Retry_After=asked)).call)
    assert 0 < at_once[0] < 10


def test_errors_of_others_stay_as_they_are(at_once: list[float]) -> None:
    with pytest.raises(ZeroDivisionError):
        Session("http://127.0.0.1:1").ask("x", lambda: 1 / 0)


def test_what_lies_behind_an_error() -> None:
    error = RuntimeError("wrapped")
    error.__cause__ = StatusError(503)
    assert status_of(error) == 503
    assert is_lost(error)
    assert not is_lost(ValueError())
    assert status_of(None) is None


def test_the_endpoint_and_the_name_of_the_library() -> None:
    session = Session("http://hub.example", token="hf_x")
    assert session.endpoint == "http://hub.example"
    assert session.token == "hf_x"
    assert session.url("me/x", "dataset") == "http://hub.example/datasets/me/x"
    assert session.api.library_name == "chatdoctor-hub"
    assert Session("http://hub.example", token=False).token is None
