"""What is left of an engine that nobody closed, and of one in a process that forks."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings

import pytest

from chatdoctor_hub.inference import ChatRequest, ScriptedEngine
from chatdoctor_hub.inference.endpoint import EndpointEngine


def asking(text: str) -> ChatRequest:
    return ChatRequest(({"role": "user", "content": text},))


def test_nobody_has_to_close_it(tgi) -> None:
    async def within_a_loop() -> None:
        engine = EndpointEngine(tgi.url)
        await engine.agenerate(asking("Hello"))
        del engine
        await asyncio.sleep(0.05)

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ResourceWarning)
        engine = EndpointEngine(tgi.url)
        engine.generate(asking("Hello"))
        del engine
        asyncio.run(within_a_loop())
        gc.collect()
    ours = [str(warning.message) for warning in told if tgi.url.rpartition(":")[2] in str(warning.message)]
    assert not ours
    assert not [warning for warning in told if "unclosed transport" in str(warning.message)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes that fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_has_lines_of_its_own(serve) -> None:
    server = serve(ScriptedEngine(lambda request: request.messages[-1]["content"]))
    engine = EndpointEngine(server.url, timeout=5, max_retries=0)
    engine.generate(asking("before"))  # leaves a connection open, which both would use
    child = os.fork()
    wrong = 1
    try:
        who = "parent" if child else "child"
        wrong = sum(engine.generate(asking(f"{who} {n}")).text != f"{who} {n}" for n in range(30))
    finally:
        if not child:
            os._exit(wrong)
    assert wrong == 0
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    engine.close()
