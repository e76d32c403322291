"""The requests of LangChain's suite as they were recorded: what the tiny model has learned to answer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from chatdoctor_hub.inference import ChatRequest

FILE = Path(__file__).resolve().with_suffix(".json")
_KEPT = ("messages", "tools", "adapter")


def read_requests() -> list[ChatRequest]:
    """The requests, without what is not part of the prompt: the tool choice, the schema, the sampling."""
    return [
        ChatRequest(tuple(kept["messages"]), tools=tuple(kept["tools"]), adapter=kept["adapter"])
        for kept in json.loads(FILE.read_text(encoding="utf-8"))
    ]


def write_requests(requests: Sequence[ChatRequest]) -> None:
    kept = [{name: getattr(request, name) for name in _KEPT} for request in requests]
    FILE.write_text(json.dumps(kept, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
