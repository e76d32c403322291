"""Over a server whose answers cost nothing: what a streamed chunk costs, and many calls at once."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk

from chat_sides.peers import chat_models, missing
from chat_sides.rounds import Bar, Contest, Found, at_least, at_most
from chatdoctor_hub.inference import ChatRequest, EndpointEngine, Sampling

ASKED = "How long does a cold last?"
SHORT, LONG = 200, 2200
WORDS = 16
RAW = "raw httpx"


@contextmanager
def served() -> Iterator[str]:
    """The address of the server, in a process of its own."""
    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def body(words: int, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": ASKED}], "max_tokens": words, **more}


class _Core(BaseChatModel):
    """LangChain's own part: chunks out of nowhere."""

    @property
    def _llm_type(self) -> str:
        return "core"

    def _generate(self, *_: Any, **__: Any) -> Any:
        raise NotImplementedError

    def _stream(self, *_: Any, max_tokens: int, **__: Any) -> Iterator[ChatGenerationChunk]:
        for _number in range(max_tokens):
            yield ChatGenerationChunk(message=AIMessageChunk(content="word "))


def streaming(url: str) -> Contest:
    """Microseconds of this thread's processor time a chunk, from the difference of a long and a short stream."""
    models = {name: make() for name, make in chat_models(url).items()}
    client = httpx.Client(timeout=60)
    core, engine = _Core(), EndpointEngine(url)

    def raw(words: int) -> None:
        with client.stream("POST", f"{url}/v1/chat/completions", json=body(words, stream=True)) as response:
            for line in response.iter_lines():
                if line.startswith("data: ") and line != "data: [DONE]":
                    json.loads(line[6:])

    def asked(words: int) -> ChatRequest:
        return ChatRequest(({"role": "user", "content": ASKED},), Sampling(max_tokens=words))

    def of_model(model: Any) -> Callable[[int], None]:
        return lambda words: exhaust(model.stream(ASKED, max_tokens=words))

    streams: dict[str, Callable[[int], None]] = {name: of_model(model) for name, model in models.items()}
    streams["EndpointEngine alone"] = lambda words: exhaust(engine.stream(asked(words)))
    streams["LangChain's core alone"] = of_model(core)
    streams[RAW] = raw
    sides = {name: _slope(stream) for name, stream in streams.items()}
    return Contest("a streamed chunk", "us", sides, at_most(20, "us"), absent=missing())


def exhaust(stream: Any) -> None:
    for _ in stream:
        pass


def _slope(stream: Callable[[int], None]) -> Callable[[], float]:
    def timed(words: int) -> float:
        # Else the collector goes through all that these libraries keep, in the turn of one side or another.
        gc.collect()
        began = time.thread_time()
        stream(words)
        return time.thread_time() - began

    return lambda: (timed(LONG) - timed(SHORT)) / (LONG - SHORT) * 1e6


def calling(url: str, together: int = 256) -> Contest:
    """Calls a second, all sent at once from one event loop."""
    runner = asyncio.new_event_loop()
    models = {name: make() for name, make in chat_models(url).items()}
    request = ChatRequest(({"role": "user", "content": ASKED},), Sampling(max_tokens=WORDS))
    engine = EndpointEngine(url)
    as_many = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    raw, limited = httpx.AsyncClient(timeout=60), httpx.AsyncClient(timeout=60, limits=as_many)

    async def by_httpx(client: httpx.AsyncClient) -> Any:
        response = await client.post(f"{url}/v1/chat/completions", json=body(WORDS))
        return response.json()["choices"][0]["message"]["content"]

    def of_model(model: Any) -> Callable[[], Awaitable[Any]]:
        return lambda: model.ainvoke(ASKED, max_tokens=WORDS)

    calls = {name: of_model(model) for name, model in models.items()}
    calls["EndpointEngine alone"] = lambda: engine.agenerate(request)
    calls[RAW] = lambda: by_httpx(raw)
    calls[f"{RAW}, 64 connections"] = lambda: by_httpx(limited)

    def rate(call: Callable[[], Awaitable[Any]]) -> Callable[[], float]:
        async def all_at_once() -> float:
            began = time.perf_counter()
            await asyncio.gather(*(call() for _ in range(together)))
            return together / (time.perf_counter() - began)

        def timed() -> float:
            # What the other sides keep is not gone through in the turn of this one.
            gc.collect()
            gc.freeze()
            try:
                return runner.run_until_complete(all_at_once())
            finally:
                gc.unfreeze()

        return timed

    return Contest(
        f"{together} calls at once",
        "calls/s",
        {name: rate(call) for name, call in calls.items()},
        _both(
            at_least(0.95, RAW, more_is_better=True),
            at_least(0.95, f"{RAW}, 64 connections", more_is_better=True),
        ),
        more_is_better=True,
        absent=missing(),
    )


def _both(one: Bar, other: Bar) -> Bar:
    def met(found: Found) -> bool:
        return one.met(found) and other.met(found)

    return Bar(one.said, met)
