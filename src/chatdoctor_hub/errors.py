"""Every error this package raises on purpose.

    ChatDoctorError
    ├── DataError
    │   ├── DataNotFoundError      (FileNotFoundError)   a file of data is not there or cannot be read
    │   ├── DataFormatError        (ValueError)          a file or value has another layout than expected
    │   └── LeakError              (ValueError)          training data repeat records of an evaluation set
    ├── PromptError
    │   ├── UnknownPromptError     (LookupError)         no prompt pair of that id
    │   ├── PromptDigestError      (ValueError)          a stored prompt differs from its digest
    │   └── PurityError            (ValueError)          dialogues to tune on carry a safety prompt
    ├── ConfigError                (ValueError)          one or more settings are wrong; all are listed
    ├── ModelError
    │   ├── ModelNotFoundError     (FileNotFoundError)   no such model, on disk or in the Hub's cache
    │   └── ModelFormatError       (ValueError)          the model or its tokenizer cannot be used here
    ├── ReleaseError
    │   ├── ReleaseNotFoundError   (FileNotFoundError)   the folder is no release
    │   └── ReleaseFormatError     (ValueError)          the release has gaps or cannot be trusted
    ├── HubError
    │   ├── HubUnreachableError    (ConnectionError)     the Hub cannot be reached, or gives no answer that helps
    │   ├── HubAccessError         (PermissionError)     no token, one without the rights, or a closed gate
    │   ├── HubNotFoundError       (FileNotFoundError)   the Hub has no such repository, revision or file
    │   ├── HubConflictError       (FileExistsError)     something else is there, or came there meanwhile
    │   ├── DownloadError          (ValueError)          what was downloaded is not what the Hub says it has
    │   └── PublishError           (ValueError)          a folder that may not go up, or not to everybody
    ├── GenerationError            (RuntimeError)        a model could not answer
    │   ├── ContextLengthError     (ValueError)          the prompt does not fit the model's context
    │   └── EndpointError                                 a server that answers for a model is of no use
    │       ├── EndpointConnectionError (ConnectionError)   it cannot be reached, or the line broke
    │       ├── EndpointTimeoutError (TimeoutError)         it took longer than it may
    │       ├── EndpointAccessError (PermissionError)       no token, or one without the rights
    │       ├── EndpointRequestError (ValueError)           it refuses the request as it is
    │       ├── EndpointNotFoundError (LookupError)         no chat server there, or no such model
    │       ├── EndpointBusyError (BlockingIOError)         it has too much to do (429, 503)
    │       └── EndpointServerError (OSError)               it failed, or its answer cannot be read
    ├── TrainingError              (RuntimeError)        a tuning run cannot go on; what was good is kept
    ├── MissingExtraError          (ImportError)         an optional dependency is not installed
    └── DiskSpaceError             (OSError)             too little room to finish what was asked

A message is one sentence: what was expected, what was found, what to do. It never holds patients' words.
"""

from __future__ import annotations

__all__ = [
    "ChatDoctorError",
    "ConfigError",
    "ContextLengthError",
    "DataError",
    "DataFormatError",
    "DataNotFoundError",
    "DiskSpaceError",
    "DownloadError",
    "EndpointAccessError",
    "EndpointBusyError",
    "EndpointConnectionError",
    "EndpointError",
    "EndpointNotFoundError",
    "EndpointRequestError",
    "EndpointServerError",
    "EndpointTimeoutError",
    "GenerationError",
    "HubAccessError",
    "HubConflictError",
    "HubError",
    "HubNotFoundError",
    "HubUnreachableError",
    "LeakError",
    "MissingExtraError",
    "ModelError",
    "ModelFormatError",
    "ModelNotFoundError",
    "PromptDigestError",
    "PromptError",
    "PublishError",
    "PurityError",
    "ReleaseError",
    "ReleaseFormatError",
    "ReleaseNotFoundError",
    "TrainingError",
    "UnknownPromptError",
]


class ChatDoctorError(Exception):
    """Base of all errors of this package."""

    def __str__(self) -> str:
        # OSError, FileNotFoundError and KeyError format their arguments in ways of their own.
        return str(self.args[0]) if self.args else type(self).__name__


class DataError(ChatDoctorError):
    """Data could not be used."""


class DataNotFoundError(DataError, FileNotFoundError):
    """A file of data does not exist or cannot be read."""


class DataFormatError(DataError, ValueError):
    """A file or a value has another layout than the one expected."""


class LeakError(DataError, ValueError):
    """Training data repeat records that a model will be evaluated with."""


class PromptError(ChatDoctorError):
    """A prompt pair could not be used."""


class UnknownPromptError(PromptError, LookupError):
    """There is no prompt pair of that id."""


class PromptDigestError(PromptError, ValueError):
    """A stored prompt does not have the digest that was recorded for it."""


class PurityError(PromptError, ValueError):
    """Dialogues to tune on carry a safety prompt (PTST, arXiv 2402.18540)."""


class ConfigError(ChatDoctorError, ValueError):
    """One or more settings are wrong; the message lists all of them."""


class ModelError(ChatDoctorError):
    """A model could not be used."""


class ModelNotFoundError(ModelError, FileNotFoundError):
    """There is no such model, neither as a folder nor in the Hub's cache."""


class ModelFormatError(ModelError, ValueError):
    """A model or its tokenizer lacks something that is needed here."""


class ReleaseError(ChatDoctorError):
    """A release folder could not be used."""


class ReleaseNotFoundError(ReleaseError, FileNotFoundError):
    """The folder is not a release."""


class ReleaseFormatError(ReleaseError, ValueError):
    """The release has gaps, or does not match its own records."""


class HubError(ChatDoctorError):
    """The Hub, or what lies there, could not be used."""


class HubUnreachableError(HubError, ConnectionError):
    """The Hub cannot be reached, or its answers do not let the work go on; the same call may do later."""


class HubAccessError(HubError, PermissionError):
    """There is no token, the token lacks the rights, or the repository is gated."""


class HubNotFoundError(HubError, FileNotFoundError):
    """The Hub has no such repository, revision or file, or does not show it to this token."""


class HubConflictError(HubError, FileExistsError):
    """Something else has that name, or another commit came first; nothing was overwritten."""


class DownloadError(HubError, ValueError):
    """What was downloaded does not have the digest that the Hub gives for it."""


class PublishError(HubError, ValueError):
    """A folder may not be uploaded, or not be made public."""


class GenerationError(ChatDoctorError, RuntimeError):
    """A model could not answer."""


class ContextLengthError(GenerationError, ValueError):
    """The prompt and the room for the answer do not fit the model's context."""


class EndpointError(GenerationError):
    """A server that answers for a model could not be used."""

    # `status` is that of its answer, None where there was none; `retry_after` the seconds it asks to wait;
    # `text_so_far` what the model had written when a stream broke off, which is not part of the message.
    def __init__(
        self,
        *message: str,
        status: int | None = None,
        retry_after: float | None = None,
        text_so_far: str = "",
    ) -> None:
        super().__init__(*message)
        self.status = status
        self.retry_after = retry_after
        self.text_so_far = text_so_far


class EndpointConnectionError(EndpointError, ConnectionError):
    """The server cannot be reached, or the connection broke; the same call may do later."""


class EndpointTimeoutError(EndpointError, TimeoutError):
    """The server took longer than it may."""


class EndpointAccessError(EndpointError, PermissionError):
    """There is no token for the server, or it lacks the rights."""


class EndpointRequestError(EndpointError, ValueError):
    """The server refuses the request as it is; repeating it is of no use."""


class EndpointNotFoundError(EndpointError, LookupError):
    """There is no chat server at the address, or it has no model or adapter of that name."""


class EndpointBusyError(EndpointError, BlockingIOError):
    """The server has too much to do; the same call may do later."""


class EndpointServerError(EndpointError, OSError):
    """The server failed, or what it answered cannot be read."""


class TrainingError(ChatDoctorError, RuntimeError):
    """A tuning run cannot go on; its last good checkpoint is kept."""


class MissingExtraError(ChatDoctorError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f"This needs the package {package!r}, which is not installed; "
            f"run: pip install 'chatdoctor-hub[{extra}]'"
        )


class DiskSpaceError(ChatDoctorError, OSError):
    """There is too little free disk space for what was asked."""
