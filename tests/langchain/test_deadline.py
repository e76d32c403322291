"""A time limit for a model in this process."""

from __future__ import annotations

import asyncio
import signal
import threading
import time

import pytest
from langchain_core.exceptions import ModelTimeoutError

from chatdoctor_hub.errors import GenerationError
from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.inference.engine import Engine
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.langchain.deadline import TimedEngine


class Slow(ScriptedEngine):
    """Takes its time, as a model does: a little for each token."""

    async def agenerate(self, request):
        await asyncio.sleep(5)

    async def agenerate_batch(self, requests, *, return_exceptions=False):
        await asyncio.sleep(5)

    def stream(self, request):
        for delta in super().stream(request):
            time.sleep(0.03)
            yield delta


@pytest.mark.parametrize("way", ["invoke", "ainvoke", "stream", "astream", "batch", "abatch"])
async def test_it_gives_up(way):
    llm = ChatDoctor(engine=TimedEngine(Slow("word " * 100), 0.1))
    before = time.monotonic()
    with pytest.raises(ModelTimeoutError, match=r"within 0\.1 seconds") as caught:
        await ask(llm, way)
    assert time.monotonic() - before < 2
    assert isinstance(caught.value, (GenerationError, TimeoutError))


async def ask(llm, way):
    if way in ("invoke", "batch"):
        getattr(llm, way)("Hi" if way == "invoke" else ["Hi", "Ho"])
    elif way in ("ainvoke", "abatch"):
        await getattr(llm, way)("Hi" if way == "ainvoke" else ["Hi", "Ho"])
    elif way == "stream":
        list(llm.stream("Hi"))
    else:
        [chunk async for chunk in llm.astream("Hi")]


async def test_what_is_in_time_is_as_it_would_be():
    engine = TimedEngine(ScriptedEngine("Rest well."), 5)
    assert isinstance(engine, Engine)
    llm = ChatDoctor(engine=engine)
    said = [llm.invoke("Hi"), await llm.ainvoke("Hi"), llm.batch(["Hi"])[0], (await llm.abatch(["Hi"]))[0]]
    assert {message.content for message in said} == {"Rest well."}
    assert "".join(chunk.content for chunk in llm.stream("Hi")) == "Rest well."
    assert llm.get_num_tokens("one two") == 2


def test_a_slow_reader_is_not_the_models_fault():
    for _ in ChatDoctor(engine=TimedEngine(ScriptedEngine("a b c d"), 0.1)).stream("Hi"):
        time.sleep(0.04)


def test_the_real_one(model_folder):
    llm = ChatDoctor(model=model_folder, device="cpu", max_tokens=400, timeout=0.05)
    with pytest.raises(ModelTimeoutError):
        llm.invoke("Fever")
    assert (
        ChatDoctor(model=model_folder, device="cpu", max_tokens=2, timeout=60).invoke("Fever").usage_metadata
    )


@pytest.mark.parametrize("way", ["invoke", "batch"])
def test_who_is_interrupted_does_not_wait_for_the_end(way):
    llm = ChatDoctor(engine=TimedEngine(Slow("word " * 100), 60))
    main = threading.get_ident()
    timer = threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT))
    before = time.monotonic()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        getattr(llm, way)("Hi" if way == "invoke" else ["Hi", "Ho"])
    assert time.monotonic() - before < 2
