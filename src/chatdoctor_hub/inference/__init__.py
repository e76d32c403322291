"""Inference: one protocol for everything that answers, an engine in this process, and a scripted one."""

from __future__ import annotations

from chatdoctor_hub.inference.calls import InvalidToolCall, ToolCall, ToolCallDelta
from chatdoctor_hub.inference.engine import Engine
from chatdoctor_hub.inference.local import LocalEngine
from chatdoctor_hub.inference.sampling import Sampling
from chatdoctor_hub.inference.scripted import ScriptedEngine
from chatdoctor_hub.inference.types import ChatDelta, ChatReply, ChatRequest, EngineInfo, TokenLogprob, Usage

__all__ = [
    "ChatDelta",
    "ChatReply",
    "ChatRequest",
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
