"""`chat_model("tgi:http://localhost:8080")`: a chat model from one string."""

from __future__ import annotations

import difflib
from typing import Any

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.langchain.chat_doctor import ChatDoctor
from chatdoctor_hub.langchain.loader import HOSTED

__all__ = ["chat_model"]

_LOCAL = "local"
_SERVERS = ("tgi", "vllm", "llama_cpp", "llama_cpp_python", "transformers", "openai")
_WEB = ("http", "https")


def chat_model(name: str, **settings: Any) -> ChatDoctor:
    """A `ChatDoctor` from one string, such as a line of a configuration.

        chat_model("local:runs/quickstart/release")
        chat_model("tgi:http://localhost:8080", temperature=0.2)
        chat_model("hf:org/name")

    LangChain's own `init_chat_model` knows a fixed list of providers.

    Args:
        name: "local:" and a folder or Hub id (the default where nothing is in front); "hf:" and a Hub id, for a
            model that Hugging Face runs; "tgi:", "vllm:", "llama_cpp:", "llama_cpp_python:",
            "transformers:" or "openai:" and the address of such a server; or an address alone, whose kind is found out.
        **settings: of `ChatDoctor`.

    Raises:
        ConfigError: for another kind, or settings that `ChatDoctor` refuses.
    """
    kind, colon, rest = name.partition(":")
    # A single letter is a drive of Windows.
    if not colon or len(kind) == 1 or "/" in kind or "\\" in kind:
        return ChatDoctor(model=name, **settings)
    if kind in _WEB:
        return ChatDoctor(base_url=name, **settings)
    if not rest:
        raise ConfigError(f"Expected a model or an address after {name!r}, found nothing; add it.")
    if kind == _LOCAL:
        return ChatDoctor(model=rest, **settings)
    if f"{kind}:" == HOSTED:
        return ChatDoctor(model=name, **settings)
    if kind in _SERVERS:
        return ChatDoctor(base_url=rest, dialect=kind, **settings)
    kinds = [_LOCAL, HOSTED[:-1], *_SERVERS]
    near = difflib.get_close_matches(kind, kinds, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"use one of {', '.join(kinds)}."
    raise ConfigError(f"Expected a kind of model that exists, found {kind!r}; {hint}")
