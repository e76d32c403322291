"""Many requests at once, from many threads and event loops."""

from __future__ import annotations

import asyncio
import gc
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatdoctor_hub.inference import ChatRequest, Sampling
from chatdoctor_hub.inference.endpoint import EndpointEngine


def asked(text: str) -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},), Sampling(max_tokens=4))


def echo(request: ChatRequest) -> str:
    return str(request.messages[-1]["content"])


async def test_five_hundred_at_once(serve, connect) -> None:
    server = serve(echo)
    engine = connect(server.url, max_connections=20, timeout=60)
    replies = await asyncio.gather(*(engine.agenerate(asked(f"word{number}")) for number in range(500)))
    assert [reply.text for reply in replies] == [f"word{number}" for number in range(500)]
    assert server.most_at_once <= 20
    assert len(server.chats) == 500


async def test_streams_at_once(serve, connect) -> None:
    server = serve(echo)
    engine = connect(server.url, max_connections=8)

    async def one(number: int) -> str:
        return "".join([delta.text async for delta in engine.astream(asked(f"a{number} b{number}"))])

    found = await asyncio.gather(*(one(number) for number in range(60)))
    assert found == [f"a{number} b{number}" for number in range(60)]
    assert server.most_at_once <= 8


def test_threads(serve, connect) -> None:
    server = serve(echo)
    engine = connect(server.url, max_connections=6)
    with ThreadPoolExecutor(24) as pool:
        found = list(pool.map(lambda number: engine.generate(asked(f"word{number}")).text, range(120)))
    assert found == [f"word{number}" for number in range(120)]
    assert server.most_at_once <= 6


def test_event_loops_one_after_the_other(serve, connect) -> None:
    engine = connect(serve(echo).url)

    async def twice() -> list[str]:
        return [(await engine.agenerate(asked(f"word{number}"))).text for number in range(2)]

    for _ in range(4):
        assert asyncio.run(twice()) == ["word0", "word1"]


def test_event_loops_close_their_connections(serve, connect) -> None:
    engine = connect(serve(echo).url)
    asyncio.run(engine.agenerate(asked("word")))
    held = engine._lines._opened._loops._held
    assert held == {}


def test_a_loop_that_was_ended_without_ceremony(serve, connect) -> None:
    engine = connect(serve(echo).url)
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(engine.agenerate(asked("word")))
        loop.close()
        assert len(engine._lines._opened._loops._held) == 1
    gc.collect()


def test_event_loops_and_threads_together(serve, connect) -> None:
    engine = connect(serve(echo).url)
    found: list[str] = []

    def in_a_loop(number: int) -> None:
        async def several() -> list[str]:
            replies = await asyncio.gather(*(engine.agenerate(asked(f"l{number}x{k}")) for k in range(10)))
            return [reply.text for reply in replies]

        found.extend(asyncio.run(several()))

    def plain(number: int) -> None:
        found.extend(engine.generate(asked(f"t{number}x{k}")).text for k in range(10))

    threads = [threading.Thread(target=target, args=(n,)) for n in range(4) for target in (in_a_loop, plain)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == sorted(f"{kind}{n}x{k}" for kind in "lt" for n in range(4) for k in range(10))


async def test_closing_within_the_loop(serve) -> None:
    engine = EndpointEngine(serve(echo).url)
    await engine.agenerate(asked("word"))
    engine.generate(asked("word"))
    await engine.aclose()
    await engine.aclose()


def test_connections_are_used_again(serve, connect) -> None:
    server = serve(echo)
    engine = connect(server.url)
    seen = set()
    for _ in range(5):
        list(engine.stream(asked("word")))
        pool = engine._lines._opened._client._transport._pool
        seen |= {id(connection) for connection in pool.connections}
    assert len(seen) == 1


async def test_connections_are_used_again_in_a_loop(serve, connect) -> None:
    engine = connect(serve(echo).url)
    seen = set()
    for _ in range(5):
        assert [delta async for delta in engine.astream(asked("word"))]
        line = engine._lines._opened
        client, _ = await line._loops.get(line._of_loop)
        lanes = client._transport
        seen |= {id(connection) for lane, _ in lanes.idle for connection in lane._pool.connections}
        assert lanes.busy == 0
    assert len(seen) == 1


async def test_connections_that_nobody_needs_are_closed(
    serve, connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(echo)
    engine = connect(server.url, max_connections=6)
    await asyncio.gather(*(engine.agenerate(asked(f"word{number}")) for number in range(20)))
    line = engine._lines._opened
    client, _ = await line._loops.get(line._of_loop)
    lanes = client._transport
    assert 1 < len(lanes.idle) <= 6
    monkeypatch.setattr("chatdoctor_hub.inference.endpoint.lanes._IDLE_SECONDS", 0.05)
    await asyncio.sleep(0.1)
    await engine.agenerate(asked("word"))
    assert len(lanes.idle) == 1
    await engine.aclose()
    assert (len(lanes.idle), lanes.busy) == (0, 0)


async def test_connections_in_use_are_closed_with_their_responses(serve, connect) -> None:
    engine = connect(serve(echo).url)
    stream = engine.astream(asked("a b c d"))
    await anext(stream)
    line = engine._lines._opened
    client, _ = await line._loops.get(line._of_loop)
    lanes = client._transport
    await engine.aclose()
    await stream.aclose()
    assert (len(lanes.idle), lanes.busy) == (0, 0)


def test_memory_stays_flat(serve, connect) -> None:
    server = serve(echo)
    engine = connect(server.url)
    for _ in range(50):
        engine.generate(asked("word"))
    server.requests.clear()
    tracemalloc.start()
    try:
        before = _engine_memory()
        for number in range(200):
            engine.generate(asked("word")) if number % 2 else list(engine.stream(asked("word")))
        server.requests.clear()
        server.headers.clear()
        grown = _engine_memory() - before
    finally:
        tracemalloc.stop()
    assert grown < 60_000


def _engine_memory() -> int:
    """Bytes held that were allocated in this package and in httpx."""
    gc.collect()
    found = tracemalloc.take_snapshot().filter_traces(
        [
            tracemalloc.Filter(True, f"*{name}*")
            for name in ("/inference/endpoint/", "httpx", "httpcore", "tenacity")
        ]
    )
    return sum(statistic.size for statistic in found.statistics("filename"))


def test_making_one_costs_nothing(tgi) -> None:
    import time

    def ten() -> float:
        began = time.perf_counter()
        for _ in range(10):
            EndpointEngine(tgi.url)
        return time.perf_counter() - began

    assert min(ten() for _ in range(20)) < 0.0015
    assert tgi.headers == []
