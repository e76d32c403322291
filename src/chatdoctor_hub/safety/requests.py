"""The requests that safety is measured with: data files with id, version and source, read strictly."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, overload

import yaml

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError

__all__ = [
    "RequestSet",
    "SafetyRequest",
    "benign_requests",
    "harmful_requests",
    "read_requests",
    "shipped_set",
]

_SET_KEYS = ("id", "version", "source", "requests")
_REQUEST_KEYS = ("id", "category", "text")


@dataclass(frozen=True)
class SafetyRequest:
    """One message of a user, to be answered without context.

    Args:
        id: unique within its set.
        category: what kind of harm it asks for, or what harm a benign one resembles.
        text: the message.
    """

    id: str
    category: str
    text: str


@dataclass(frozen=True)
class RequestSet(Sequence[SafetyRequest]):
    """Requests with their provenance; a sequence of them.

    Args:
        id: name of the set.
        version: raised whenever a request changes.
        source: who wrote the requests, and for what.
        requests: at least one, ids unique.

    Raises:
        DataFormatError: for no requests or an id used twice.
    """

    id: str
    version: int | str
    source: str
    requests: tuple[SafetyRequest, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "requests", tuple(self.requests))
        ids = [request.id for request in self.requests]
        twice = sorted({id for id in ids if ids.count(id) > 1})
        if not ids or twice:
            raise DataFormatError(
                f"Expected the request set {self.id!r} to have requests with ids of their own, found "
                f"{'none' if not ids else 'twice: ' + ', '.join(twice)}; correct the set."
            )

    def __len__(self) -> int:
        return len(self.requests)

    def __iter__(self) -> Iterator[SafetyRequest]:
        return iter(self.requests)

    @overload
    def __getitem__(self, index: int) -> SafetyRequest: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[SafetyRequest, ...]: ...

    def __getitem__(self, index: int | slice) -> SafetyRequest | tuple[SafetyRequest, ...]:
        return self.requests[index]

    @property
    def sha256(self) -> str:
        """Digest (hex) of ids, categories and texts in order; not of the file's layout."""
        rows = [[request.id, request.category, request.text] for request in self.requests]
        return hashlib.sha256(
            json.dumps(rows, ensure_ascii=False).encode("utf-8", "surrogatepass")
        ).hexdigest()

    def to_record(self) -> dict[str, int | str]:
        """A plain dict for JSON that names the set: id, version, sha256."""
        return {"id": self.id, "version": self.version, "sha256": self.sha256}


def harmful_requests() -> tuple[SafetyRequest, ...]:
    """The requests written for this project that a medical assistant must refuse."""
    return shipped_set("harmful").requests


def benign_requests() -> tuple[SafetyRequest, ...]:
    """The requests written for this project that sound like harmful ones and deserve an answer.

    After the idea of XSTest (Röttger et al., arXiv 2308.01263): a model that refuses these is not safe,
    only useless.
    """
    return shipped_set("benign").requests


@lru_cache(maxsize=4)
def shipped_set(name: str) -> RequestSet:
    """The set "harmful" or "benign" that ships with the package.

    Raises:
        DataNotFoundError: when there is no set of that name.
        DataFormatError: when the shipped file is damaged.
    """
    file = resources.files("chatdoctor_hub.safety") / "data" / f"{name}.yaml"
    if not file.is_file():
        raise DataNotFoundError(
            f"Expected the request set {name!r} with the package, found no {name}.yaml among its data; "
            "use 'harmful' or 'benign', or reinstall chatdoctor-hub."
        )
    return _parse(file.read_text(encoding="utf-8"), f"{name}.yaml")


def read_requests(path: str | PathLike[str]) -> RequestSet:
    """Read a request set of your own: YAML with id, version, source and requests (id, category, text).

    Raises:
        DataNotFoundError: when the file cannot be read.
        DataFormatError: naming the file and everything that is wrong in it.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise DataNotFoundError(
            f"Expected a request set (YAML) at {path}, found none that can be read "
            f"({error.strerror or type(error).__name__}); check the path."
        ) from error
    except UnicodeDecodeError:
        raise DataFormatError(
            f"Expected {path} to be UTF-8 text, found other bytes; save it as UTF-8."
        ) from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> RequestSet:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}" if mark else "its text"
        raise DataFormatError(
            f"Expected {name} to be YAML, found a fault in {where}; correct the file."
        ) from None
    faults = _faults(data)
    if faults:
        raise DataFormatError(
            f"Expected {name} to be a request set (a mapping with {', '.join(_SET_KEYS)}), found: "
            f"{'; '.join(faults)}; correct the file."
        )
    requests = tuple(
        SafetyRequest(**{key: row[key].strip() for key in _REQUEST_KEYS}) for row in data["requests"]
    )
    try:
        return RequestSet(data["id"], data["version"], data["source"], requests)
    except DataFormatError as error:
        raise DataFormatError(f"{name}: {error}") from None


def _faults(data: Any) -> list[str]:
    """All that is wrong, in words that quote keys and places, never a request."""
    if not isinstance(data, dict):
        return [f"a {type(data).__name__} at the top"]
    faults = _key_faults(data, _SET_KEYS, "the set")
    faults += [
        f"{key} of the set is no text" for key in ("id", "source") if key in data and not _is_text(data[key])
    ]
    version = data.get("version", "1")
    if not _is_text(version) and (isinstance(version, bool) or not isinstance(version, int)):
        faults.append("version of the set is neither text nor a whole number")
    rows = data.get("requests", [])
    if not isinstance(rows, list):
        return [*faults, f"requests is a {type(rows).__name__}, not a list"]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            faults.append(f"request {number} is a {type(row).__name__}, not a mapping")
            continue
        faults += _key_faults(row, _REQUEST_KEYS, f"request {number}")
        faults += [
            f"{key} of request {number} is no text"
            for key in _REQUEST_KEYS
            if key in row and not _is_text(row[key])
        ]
    return faults


def _key_faults(mapping: dict[Any, Any], keys: tuple[str, ...], where: str) -> list[str]:
    missing = [f"{where} has no {key}" for key in keys if key not in mapping]
    return missing + [f"{where} has an unknown key {key!r}" for key in mapping if key not in keys]


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
