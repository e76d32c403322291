"""Errors of this package that are LangChain's standard errors as well.

LangChain's retries, fallbacks and summarisation go by its own family (`langchain_core.exceptions`), callers of
this package by ours. What a `ChatDoctor` raises is of both: an `EndpointBusyError` is a `ModelRateLimitError`
too, and `except` finds it under either name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core import exceptions as standard

from chatdoctor_hub import errors

__all__ = ["AnswerRefusedError", "AnswerTimeoutError", "in_both_families", "standard_kind"]

# The first that fits counts.
_KINDS: tuple[tuple[type[errors.ChatDoctorError], type[standard.ModelError]], ...] = (
    (errors.ContextLengthError, standard.ContextOverflowError),
    (errors.EndpointConnectionError, standard.ModelConnectionError),
    (errors.EndpointTimeoutError, standard.ModelTimeoutError),
    (errors.EndpointAccessError, standard.ModelPermissionDeniedError),
    (errors.EndpointRequestError, standard.ModelInvalidRequestError),
    (errors.EndpointNotFoundError, standard.ModelNotFoundError),
    (errors.EndpointBusyError, standard.ModelRateLimitError),
    (errors.EndpointServerError, standard.ModelAPIError),
    (errors.HubUnreachableError, standard.ModelConnectionError),
    (errors.HubAccessError, standard.ModelPermissionDeniedError),
    (errors.HubNotFoundError, standard.ModelNotFoundError),
    (errors.ModelNotFoundError, standard.ModelNotFoundError),
    (errors.ReleaseNotFoundError, standard.ModelNotFoundError),
    (errors.ConfigError, standard.ModelInvalidRequestError),
    (errors.DataError, standard.ModelInvalidRequestError),
    (errors.UnknownPromptError, standard.ModelInvalidRequestError),
)

_UNAUTHENTICATED = 401

_made: dict[tuple[type[errors.ChatDoctorError], type[standard.ModelError]], type[errors.ChatDoctorError]] = {}


class AnswerTimeoutError(errors.GenerationError, standard.ModelTimeoutError, TimeoutError):
    """A model in this process took longer than it may."""


class AnswerRefusedError(
    errors.GenerationError,
    getattr(standard, "ModelRefusalError", standard.ModelError),  # type: ignore[misc]  # since core 1.7.5
):
    """The model declined, where an answer in a given form was asked for."""

    def __init__(self, message: str) -> None:
        Exception.__init__(self, message)


def standard_kind(error: errors.ChatDoctorError) -> type[standard.ModelError]:
    """Which of LangChain's standard errors this one is; `ModelError`, which is not retried, where none fits."""
    if isinstance(error, errors.EndpointAccessError) and error.status == _UNAUTHENTICATED:
        return standard.ModelAuthenticationError
    return next((kind for ours, kind in _KINDS if isinstance(error, ours)), standard.ModelError)


@contextmanager
def in_both_families() -> Iterator[None]:
    """Raise this package's errors as ones that are LangChain's standard errors as well."""
    try:
        yield
    except errors.ChatDoctorError as error:
        if isinstance(error, standard.ModelError):
            raise
        told = _in_both(error)
        # It takes the place of the other, with its history: one error in the traceback, not two.
        raise told.with_traceback(error.__traceback__) from error.__cause__


def _in_both(error: errors.ChatDoctorError) -> errors.ChatDoctorError:
    return _revive(type(error), standard_kind(error), error.args, error.__dict__)


def _both(
    ours: type[errors.ChatDoctorError], theirs: type[standard.ModelError]
) -> type[errors.ChatDoctorError]:
    """The class of both, the same each time; told apart from `ours` by nothing but what it is."""
    if (ours, theirs) not in _made:
        body = {
            "__doc__": ours.__doc__,
            "__module__": ours.__module__,
            # It is made of an error that there is already, whatever that took to be made.
            "__init__": _take_args,
            "__reduce__": _reduce,
        }
        _made[ours, theirs] = type(ours.__name__, (ours, theirs), body)
    return _made[ours, theirs]


def _reduce(error: errors.ChatDoctorError) -> tuple[object, ...]:
    ours, theirs = type(error).__bases__
    return (_revive, (ours, theirs, error.args, error.__dict__))


def _take_args(error: errors.ChatDoctorError, *args: object) -> None:
    error.args = args


def _revive(
    ours: type[errors.ChatDoctorError],
    theirs: type[standard.ModelError],
    args: tuple[object, ...],
    state: dict[str, object],
) -> errors.ChatDoctorError:
    error = _both(ours, theirs)(*args)
    error.__dict__.update(state)
    return error
