"""The prompts that teachers are given: `data/<name>.yaml`, each with id, version and source."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from typing import Any

from chatdoctor_hub.corpus.writing.grammar import read_data

__all__ = ["prompt_digest", "read_prompt", "task_key"]


@lru_cache(maxsize=8)
def read_prompt(name: str) -> dict[str, Any]:
    """Everything in the prompt's file."""
    return read_data("chatdoctor_hub.corpus.writing", name)


@lru_cache(maxsize=8)
def prompt_digest(name: str) -> str:
    """sha256 (hex) over everything in the prompt's file."""
    text = json.dumps(read_prompt(name), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def task_key(name: str, *parts: object) -> str:
    """What a journal knows a task by: sha256 (hex) over the prompt's digest and all else it depends on."""
    text = json.dumps([name, prompt_digest(name), *parts], ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
