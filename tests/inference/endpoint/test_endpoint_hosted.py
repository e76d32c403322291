"""Models by their Hub id: huggingface_hub's own clients, sent to the stand-in."""

from __future__ import annotations

import asyncio
import time

import pytest

from chatdoctor_hub.errors import (
    ContextLengthError,
    EndpointAccessError,
    EndpointBusyError,
    EndpointConnectionError,
    EndpointRequestError,
    EndpointTimeoutError,
)
from chatdoctor_hub.inference import ChatRequest, Sampling, ScriptedEngine, ToolCall
from chatdoctor_hub.prompts import PromptPair

USER = {"role": "user", "content": "My knee hurts."}
TOOL = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
}
PAIR = PromptPair.load("chatdoctor@1")


@pytest.fixture
def hosted(connect, monkeypatch: pytest.MonkeyPatch):
    """`hosted(stand_in)`: an engine for a hosted model, all of whose requests go to the stand-in instead."""

    def hosted(server, **settings):
        monkeypatch.setattr("huggingface_hub.inference._providers._common.BaseConversationalTask._prepare_base_url",
                            lambda self, api_key: server.url)  # fmt: skip
        monkeypatch.setattr(
            "huggingface_hub.inference._providers._common.BaseConversationalTask._prepare_mapping_info",
            lambda self, model: _mapping(model),
        )
        settings = {"model": "org/tiny-doctor", "provider": "together", "api_key": "hf_given", **settings}
        return connect(None, **settings)

    return hosted


def _mapping(model: str):
    from huggingface_hub.hf_api import InferenceProviderMapping

    return InferenceProviderMapping(
        provider="together",
        hf_model_id=model,
        providerId="org/tiny-doctor",
        status="live",
        task="conversational",
    )


def request(*messages, **more) -> ChatRequest:
    return ChatRequest(messages or (USER,), **more)


async def test_the_same_answer_in_every_way(serve, hosted) -> None:
    server = serve("Rest and drink enough.")
    engine = hosted(server)
    asked = request(sampling=Sampling(temperature=0.5, top_p=0.9, seed=3, stop=(" enough",)))
    texts = [
        engine.generate(asked).text,
        "".join(delta.text for delta in engine.stream(asked)),
        (await engine.agenerate(asked)).text,
        "".join([delta.text async for delta in engine.astream(asked)]),
    ]
    assert texts == ["Rest and drink"] * 4
    for body in server.chats:
        assert body["messages"][0]["content"] == PAIR.serving_text
        assert {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": [" enough"]}.items() <= body.items()
    assert {headers["authorization"] for headers in server.headers} == {"Bearer hf_given"}
    assert engine.describe().model == "org/tiny-doctor"


def test_streams_have_usage(serve, hosted) -> None:
    last = list(hosted(serve("Rest now.")).stream(request()))[-1]
    assert last.finish_reason == "stop"
    assert last.usage.output_tokens == 2


async def test_tools(serve, hosted) -> None:
    engine = hosted(serve(ScriptedEngine(ToolCall("look_up", {"q": "knee"}, "a"))))
    asked = request(tools=(TOOL,), tool_choice="look_up")
    (call,) = engine.generate(asked).tool_calls
    assert (call.name, call.arguments) == ("look_up", {"q": "knee"})
    pieces = [piece for delta in engine.stream(asked) for piece in delta.tool_calls]
    assert "".join(piece.arguments for piece in pieces) == '{"q": "knee"}'


async def test_faults(serve, hosted) -> None:
    from starlette.responses import JSONResponse
    from tgi_rules import Refused, invalid

    server = serve()
    engine = hosted(server, max_retries=0)
    for refused, kind in [
        (Refused(429, "Model is overloaded", "overloaded"), EndpointBusyError),
        (invalid("`inputs` must have less than 100 tokens. Given: 200"), ContextLengthError),
        (invalid("knee"), EndpointRequestError),
        (Refused(403, "gated", "x"), EndpointAccessError),
    ]:
        for way in range(4):
            server.failing = [refused]
            with pytest.raises(kind) as caught:
                await _ask(engine, way)
            assert "knee" not in str(caught.value)
    server.failing = [JSONResponse({"error": "x"}, 429, {"Retry-After": "7"})]
    with pytest.raises(EndpointBusyError) as caught:
        engine.generate(request())
    assert caught.value.retry_after == 7


async def _ask(engine, way: int) -> None:
    if way == 0:
        engine.generate(request())
    elif way == 1:
        list(engine.stream(request()))
    elif way == 2:
        await engine.agenerate(request())
    else:
        async for _ in engine.astream(request()):
            pass


async def test_passing_faults_are_tried_again(serve, hosted) -> None:
    from tgi_rules import Refused

    server = serve()
    busy = Refused(503, "x", "x")
    for way in range(4):
        server.failing = [busy, busy]
        await _ask(hosted(server), way)
    assert len(server.chats) == 12


def test_event_loops_one_after_the_other(serve, hosted) -> None:
    engine = hosted(serve())
    for _ in range(3):
        assert asyncio.run(engine.agenerate(request())).text


async def test_whole_answers_share_connections(serve, hosted) -> None:
    server = serve("Rest.")
    engine = hosted(server, max_connections=4)
    for _ in range(5):
        await engine.agenerate(request())
    assert len(server._server.server_state.connections) == 1
    await asyncio.gather(*(engine.agenerate(request()) for _ in range(20)))
    assert server.most_at_once <= 4
    assert len(server._server.server_state.connections) <= 4
    await engine.aclose()
    until = time.monotonic() + 5
    while server._server.server_state.connections and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert not server._server.server_state.connections


async def test_streams_leave_no_connections(serve, hosted) -> None:
    server = serve("Rest and drink enough of it.")
    engine = hosted(server, max_connections=2)
    for _ in range(5):
        stream = engine.astream(request())
        await anext(stream)
        await stream.aclose()
        assert [delta async for delta in engine.astream(request())]
    until = time.monotonic() + 5
    while server._server.server_state.connections and time.monotonic() < until:
        await asyncio.sleep(0.01)
    assert not server._server.server_state.connections


async def test_broken_lines(hosted, broken) -> None:
    engine = hosted(broken(b"", info=False), max_retries=1)
    for way in range(4):
        with pytest.raises(EndpointConnectionError):
            await _ask(engine, way)
    engine = hosted(broken([3], info=False), timeout=0.3, chunk_timeout=0.3)
    for way in range(4):
        with pytest.raises(EndpointTimeoutError):
            await _ask(engine, way)


def test_offline(connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    engine = connect(None, model="org/x", api_key="hf_x", max_retries=0)
    with pytest.raises(EndpointConnectionError):
        engine.generate(request())
