"""The starter table: common conditions, written for this project, in `starter.jsonl`.

One JSON object a line, with the fields of `Disease`; a medication is `{"name": …, "examples": […]}`.
The texts are for teaching a demonstration model, not for treating anyone; each row's `source` says what
its facts rest on.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

from chatdoctor_hub.errors import DataFormatError, DataNotFoundError
from chatdoctor_hub.knowledge.disease import Disease, Medication

__all__ = ["read_starter"]

_FILE = "starter.jsonl"


def read_starter() -> tuple[Disease, ...]:
    """The rows of the starter table, by name.

    Raises:
        DataNotFoundError: the file is not in the installed package.
        DataFormatError: it was changed and no longer has the layout.
    """
    file = resources.files(__package__).joinpath(_FILE)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataNotFoundError(
            f"Expected the starter table at {file}, found that it cannot be read; install chatdoctor-hub again."
        ) from error
    diseases = []
    for number, line in enumerate(lines, start=1):
        try:
            diseases.append(_disease(json.loads(line), number))
        except (ValueError, TypeError, KeyError) as error:
            raise DataFormatError(
                f"Expected a disease as JSON on line {number} of {file}, found something else; "
                "install chatdoctor-hub again."
            ) from error
    return tuple(diseases)


def _disease(row: dict[str, Any], line: int) -> Disease:
    medications = tuple(Medication(m["name"], tuple(m["examples"])) for m in row.pop("medications"))
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
    }
    return Disease(**values, medications=medications, line=line)
