"""One chat model used by many at once, for long, and from anywhere: over a stand-in for TGI."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from langchain_core.messages import AIMessageChunk

from chatdoctor_hub.inference import ChatDelta, ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.langchain.messages import to_ai_chunk

sys.path.append(str(Path(__file__).resolve().parents[1] / "tgi_stand_in"))

from tgi_stand_in import TgiStandIn

CONNECTIONS = 64
"""As many as `EndpointEngine` has by default."""


@pytest.fixture
def answers() -> ScriptedEngine:
    return ScriptedEngine(lambda request: str(request.messages[-1]["content"]))


@pytest.fixture
def tgi(answers: ScriptedEngine) -> Iterator[TgiStandIn]:
    with TgiStandIn(answers) as server:
        yield server


@pytest.fixture
def llm(tgi: TgiStandIn) -> ChatDoctor:
    return ChatDoctor(base_url=tgi.url, timeout=60)


def open_connections(tgi: TgiStandIn) -> int:
    return len(tgi._server.server_state.connections)


async def test_five_hundred_at_once(llm: ChatDoctor, tgi: TgiStandIn) -> None:
    found = await asyncio.gather(*(llm.ainvoke(f"word{number}") for number in range(500)))
    assert [message.text for message in found] == [f"word{number}" for number in range(500)]
    assert len(tgi.chats) == 500
    assert tgi.most_at_once <= CONNECTIONS
    assert 0 < open_connections(tgi) <= CONNECTIONS


async def test_batches_and_streams_at_once(llm: ChatDoctor, tgi: TgiStandIn) -> None:
    async def streamed(number: int) -> str:
        return "".join([chunk.text async for chunk in llm.astream(f"a{number} b{number}")])

    batch = llm.abatch([f"word{number}" for number in range(60)])
    messages, *texts = await asyncio.gather(batch, *(streamed(number) for number in range(60)))
    assert [message.text for message in messages] == [f"word{number}" for number in range(60)]
    assert texts == [f"a{number} b{number}" for number in range(60)]
    assert open_connections(tgi) <= CONNECTIONS


async def test_those_who_leave_take_no_connection_with_them(llm: ChatDoctor, tgi: TgiStandIn) -> None:
    """More streams are begun and left than there are connections."""
    for number in range(2 * CONNECTIONS):
        stream = llm.astream(f"a{number} b c d e f g")
        await anext(stream)
        await stream.aclose()
    assert (await asyncio.wait_for(llm.ainvoke("still there"), 20)).text == "still there"
    tasks = [asyncio.create_task(llm.ainvoke("gone")) for _ in range(2 * CONNECTIONS)]
    await asyncio.sleep(0.02)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (await asyncio.wait_for(llm.ainvoke("still there"), 20)).text == "still there"


@pytest.mark.parametrize("calls", [100, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory_stays_flat(llm: ChatDoctor, tgi: TgiStandIn, answers: ScriptedEngine, calls: int) -> None:
    def ask(times: int) -> int:
        """Blocks of memory in use after so many calls."""
        for number in range(times):
            if number % 4:
                assert llm.invoke("word").text == "word"
            else:
                assert "".join(chunk.text for chunk in llm.stream("a b")) == "a b"
        for written_down in (tgi.requests, tgi.headers, answers.calls):
            written_down.clear()
        gc.collect()
        return sys.getallocatedblocks()

    ask(50)
    before = ask(50)
    # Less than a block a call: no call leaves anything behind.
    assert ask(calls) - before < 100 + calls / 4


def test_event_loops_and_threads_together(llm: ChatDoctor, tgi: TgiStandIn) -> None:
    async def several(name: str) -> list[str]:
        return [message.text for message in await llm.abatch([f"{name}x{number}" for number in range(10)])]

    def in_loops(name: str) -> list[str]:
        return asyncio.run(several(f"{name}a")) + asyncio.run(several(f"{name}b"))

    def in_thread(name: str) -> list[str]:
        return [message.text for message in llm.batch([f"{name}x{number}" for number in range(10)])]

    with ThreadPoolExecutor(8) as pool:
        looped = [pool.submit(in_loops, f"l{number}") for number in range(4)]
        plain = [pool.submit(in_thread, f"t{number}") for number in range(4)]
    assert [task.result() for task in looped] == [
        [f"l{number}{part}x{at}" for part in "ab" for at in range(10)] for number in range(4)
    ]
    assert [task.result() for task in plain] == [[f"t{n}x{at}" for at in range(10)] for n in range(4)]


def test_threads_are_not_left_behind(llm: ChatDoctor) -> None:
    llm.batch(["warm"] * 4)
    before = threading.active_count()
    for _ in range(5):
        llm.batch([f"word{number}" for number in range(8)])
    assert threading.active_count() <= before


# A chunk of words is a copy of one that was made before.


def test_chunks_of_words_are_as_if_they_were_made(llm: ChatDoctor) -> None:
    info = ScriptedEngine("x").describe()
    first, second = (to_ai_chunk(ChatDelta(text), info) for text in ("One", " two"))
    assert first == AIMessageChunk(content="One")
    assert second.model_dump() == AIMessageChunk(content=" two").model_dump()
    assert (first + second).text == "One two"
    # What is put into one of them is in no other.
    first.response_metadata["mine"] = 1
    first.additional_kwargs["mine"] = 1
    first.tool_calls.append({"name": "x", "args": {}, "id": "1", "type": "tool_call"})
    assert to_ai_chunk(ChatDelta("Three"), info) == AIMessageChunk(content="Three")
