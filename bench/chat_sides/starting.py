"""Getting started: the import, in fresh interpreters, and the making of ten chat models."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from chat_sides.peers import chat_models, missing
from chat_sides.rounds import Contest, at_most

CORE = "from langchain_core.language_models import BaseChatModel"
IMPORTS = {
    "ChatDoctor": "from chatdoctor_hub import ChatDoctor",
    "ChatHuggingFace": "from langchain_huggingface import ChatHuggingFace",
    "ChatOpenAI": "from langchain_openai import ChatOpenAI",
}
# Counted apart from the core's import in the same interpreter: that takes ten times as long, and never the same.
_TIMED = """
import sys, time
{before}
began = time.perf_counter()
{code}
took = time.perf_counter() - began
heavy = [name for name in ("torch", "transformers") if name in sys.modules]
print(took * 1000, *heavy)
"""


def importing() -> Contest:
    """Milliseconds from LangChain's BaseChatModel to a chat model's class, in fresh interpreters, compiled before."""
    folder = tempfile.TemporaryDirectory()
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": folder.name}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def run(before: str, code: str) -> list[str]:
        # The folder is kept for as long as anything may be measured in it.
        assert folder.name
        command = [sys.executable, "-c", _TIMED.format(before=before, code=code)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    def timed(before: str, code: str) -> Callable[[], float]:
        return lambda: float(run(before, code)[0])

    sides = {name: timed(CORE, code) for name, code in IMPORTS.items() if name not in missing()}
    sides["BaseChatModel itself"] = timed("", CORE)
    heavy = run(CORE, IMPORTS["ChatDoctor"])[1:]
    note = f"loads {', '.join(heavy)}" if heavy else "no torch, no transformers"
    bar = at_most(30, "ms")
    return Contest("import beyond BaseChatModel", "ms", sides, bar, absent=missing(), note=lambda: note)


def constructing(url: str) -> Contest:
    """Milliseconds to make ten chat models for a server; nothing is sent."""

    def ten(make: Callable[[], Any]) -> Callable[[], float]:
        def measured() -> float:
            began = time.perf_counter()
            for _ in range(10):
                make()
            return 1000 * (time.perf_counter() - began)

        return measured

    sides = {name: ten(make) for name, make in chat_models(url).items()}
    return Contest("ten constructions", "ms", sides, at_most(0.5, "ms"), absent=missing())
