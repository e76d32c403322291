"""Inference: one protocol for everything that answers; engines in this process, behind a server, and scripted.

Names are resolved on first use, so whoever wants one engine loads no other.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatdoctor_hub.inference.calls import InvalidToolCall as InvalidToolCall
    from chatdoctor_hub.inference.calls import ToolCall as ToolCall
    from chatdoctor_hub.inference.calls import ToolCallDelta as ToolCallDelta
    from chatdoctor_hub.inference.endpoint import EndpointEngine as EndpointEngine
    from chatdoctor_hub.inference.engine import Engine as Engine
    from chatdoctor_hub.inference.local import LocalEngine as LocalEngine
    from chatdoctor_hub.inference.sampling import Sampling as Sampling
    from chatdoctor_hub.inference.scripted import ScriptedEngine as ScriptedEngine
    from chatdoctor_hub.inference.types import ChatDelta as ChatDelta
    from chatdoctor_hub.inference.types import ChatReply as ChatReply
    from chatdoctor_hub.inference.types import ChatRequest as ChatRequest
    from chatdoctor_hub.inference.types import EngineInfo as EngineInfo
    from chatdoctor_hub.inference.types import TokenLogprob as TokenLogprob
    from chatdoctor_hub.inference.types import Usage as Usage

_HOMES = {
    "ChatDelta": "types",
    "ChatReply": "types",
    "ChatRequest": "types",
    "EndpointEngine": "endpoint",
    "Engine": "engine",
    "EngineInfo": "types",
    "InvalidToolCall": "calls",
    "LocalEngine": "local",
    "Sampling": "sampling",
    "ScriptedEngine": "scripted",
    "TokenLogprob": "types",
    "ToolCall": "calls",
    "ToolCallDelta": "calls",
    "Usage": "types",
}

__all__ = [
    "ChatDelta",
    "ChatReply",
    "ChatRequest",
    "EndpointEngine",
    "Engine",
    "EngineInfo",
    "InvalidToolCall",
    "LocalEngine",
    "Sampling",
    "ScriptedEngine",
    "TokenLogprob",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
