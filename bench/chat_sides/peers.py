"""The chat models that ours is compared with, where they are installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

from chatdoctor_hub import ChatDoctor

_MODULES = {"ChatHuggingFace": "langchain_huggingface", "ChatOpenAI": "langchain_openai"}


def missing() -> list[str]:
    """The peers that are not installed."""
    return [name for name, module in _MODULES.items() if importlib.util.find_spec(module) is None]


def chat_models(url: str) -> dict[str, Callable[[], Any]]:
    """What makes a chat model for a server, by name; ours first."""
    makers: dict[str, Callable[[], Any]] = {
        "ChatDoctor": lambda: ChatDoctor(base_url=url),
        "ChatHuggingFace": lambda: _hugging_face(url),
        "ChatOpenAI": lambda: _openai(url),
    }
    return {name: make for name, make in makers.items() if name not in missing()}


def _hugging_face(url: str) -> Any:
    from langchain_huggingface import ChatHuggingFace, HuggingFaceEndpoint

    endpoint = HuggingFaceEndpoint(endpoint_url=url, task="conversational", huggingfacehub_api_token="none")
    return ChatHuggingFace(llm=endpoint, model_id="tgi")


def _openai(url: str) -> Any:
    from langchain_openai import ChatOpenAI

    return ChatOpenAI(base_url=f"{url}/v1", api_key="none", model="tgi")
