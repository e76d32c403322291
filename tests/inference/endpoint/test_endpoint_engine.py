"""The engine against the stand-in for TGI."""

from __future__ import annotations

import asyncio
import json

import pytest

from chatdoctor_hub.errors import (
    ConfigError,
    ContextLengthError,
    DataFormatError,
    EndpointAccessError,
    EndpointNotFoundError,
    EndpointRequestError,
    GenerationError,
)
from chatdoctor_hub.inference import ChatRequest, Engine, Sampling, ScriptedEngine, ToolCall
from chatdoctor_hub.inference.endpoint import EndpointEngine

USER = {"role": "user", "content": "My knee hurts."}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"q": {"type": "string"}}},
    },
}
CALL = json.dumps({"function": {"_name": "look_up", "q": "knee"}})


def request(*messages, sampling: Sampling | None = None, **more) -> ChatRequest:
    return ChatRequest(messages or (USER,), sampling or Sampling(), **more)


async def collect(engine: Engine, asked: ChatRequest) -> list:
    return [delta async for delta in engine.astream(asked)]


async def all_ways(engine: Engine, asked: ChatRequest) -> list[str]:
    """The text of an answer, gotten in four ways."""
    return [
        engine.generate(asked).text,
        "".join(delta.text for delta in engine.stream(asked)),
        (await engine.agenerate(asked)).text,
        "".join(delta.text for delta in await collect(engine, asked)),
    ]


def test_it_follows_the_protocol(connect) -> None:
    assert isinstance(connect("http://localhost:1"), Engine)


async def test_the_same_answer_in_every_way(tgi, connect) -> None:
    assert await all_ways(connect(tgi.url), request()) == ["Rest and drink enough."] * 4


@pytest.mark.parametrize("tail", ["", "/", "/v1", "/v1/", "/v1/chat/completions"])
def test_addresses(tgi, connect, tail: str) -> None:
    assert connect(tgi.url + tail).generate(request()).model == "org/tiny-doctor"


def test_the_last_piece_has_reason_and_usage(tgi, connect) -> None:
    *pieces, last = connect(tgi.url).stream(request(sampling=Sampling(max_tokens=2)))
    assert [piece.text for piece in pieces] == ["Rest", " and"]
    assert all(piece.finish_reason is None and piece.usage is None for piece in pieces)
    assert last.text == ""
    assert last.finish_reason == "length"
    assert last.usage.output_tokens == 2
    assert last.usage.input_tokens > 10


async def test_stop_strings_are_taken_off(serve, connect) -> None:
    engine = connect(serve("Rest and drink enough.").url)
    asked = request(sampling=Sampling(stop=(" drink", "x", "y", "z", "enough")))
    assert await all_ways(engine, asked) == ["Rest and"] * 4
    # The fifth is not sent, and found all the same.
    asked = request(sampling=Sampling(stop=("v", "x", "y", "z", "enough")))
    assert await all_ways(engine, asked) == ["Rest and drink "] * 4
    assert engine.generate(asked).finish_reason == "stop"
    assert list(engine.stream(asked))[-1].finish_reason == "stop"


def test_sampling_reaches_the_model(serve, connect) -> None:
    scripted = ScriptedEngine("Rest.")
    sampling = Sampling(
        temperature=0.5, top_p=0.9, repetition_penalty=1.25, frequency_penalty=0.5, seed=3, max_tokens=9
    )
    connect(serve(scripted).url).generate(request(sampling=sampling))
    assert scripted.calls[0].sampling == sampling


@pytest.mark.parametrize("choice", ["auto", "required", "look_up"])
async def test_tools(serve, connect, choice: str) -> None:
    engine = connect(serve(ScriptedEngine(ToolCall("look_up", {"q": "knee"}, "0"))).url)
    asked = request(tools=(TOOL,), tool_choice=choice)
    for reply in (engine.generate(asked), await engine.agenerate(asked)):
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [("look_up", {"q": "knee"})]
        assert reply.finish_reason == "tool_calls"
        assert reply.tool_calls[0].id != "0"
    for deltas in (list(engine.stream(asked)), await collect(engine, asked)):
        pieces = [piece for delta in deltas for piece in delta.tool_calls]
        assert pieces[0].name == "look_up"
        assert json.loads("".join(piece.arguments for piece in pieces)) == {"q": "knee"}
        assert deltas[-1].finish_reason == "tool_calls"


def test_a_call_as_tgis_grammar_has_it_written(serve, connect) -> None:
    (call,) = connect(serve(CALL).url).generate(request(tools=(TOOL,))).tool_calls
    assert (call.name, call.arguments) == ("look_up", {"q": "knee"})


async def test_logprobs(serve, connect) -> None:
    engine = connect(serve("Rest and drink.").url)
    asked = request(logprobs=2)
    streamed = [item for delta in await collect(engine, asked) for item in delta.logprobs or ()]
    assert [item.token for item in engine.generate(asked).logprobs] == ["Rest", " and", " drink."]
    assert [item.token for item in streamed] == ["Rest", " and", " drink."]
    assert engine.generate(request()).logprobs is None
    with pytest.raises(EndpointRequestError, match="top_n_tokens"):
        engine.generate(request(logprobs=9))


async def test_tools_that_are_not_called(serve, connect) -> None:
    engine = connect(serve("Rest.").url)
    assert await all_ways(engine, request(tools=(TOOL,))) == ["Rest."] * 4
    assert await all_ways(engine, request(tools=(TOOL,), tool_choice="none")) == ["Rest."] * 4


def test_a_conversation_with_calls(serve, connect) -> None:
    scripted = ScriptedEngine("It is the meniscus.")
    engine = connect(serve(scripted).url)
    calls = [{"id": "a", "type": "function", "function": {"name": "look_up", "arguments": {"q": "knee"}}}]
    said = {"role": "assistant", "content": "Let me see.", "tool_calls": calls}
    result = {"role": "tool", "content": "meniscus", "tool_call_id": "a"}
    assert engine.generate(request(USER, said, result, tools=(TOOL,))).text == "It is the meniscus."
    # With the text, TGI would have dropped the call.
    assert scripted.calls[0].messages[2]["tool_calls"]


def test_a_schema_and_an_adapter_reach_the_model(serve, connect) -> None:
    scripted = ScriptedEngine('{"x": 1}', adapters=("me/lora",))
    engine = connect(serve(scripted, adapters=("me/lora",)).url)
    schema = {"type": "object", "properties": {"x": {"type": "integer"}}}
    engine.generate(request(response_schema=schema, adapter="me/lora"))
    assert scripted.calls[0].response_schema == schema
    assert scripted.calls[0].adapter == "me/lora"
    with pytest.raises(EndpointNotFoundError, match="no-such"):
        engine.generate(request(adapter="no-such"))


async def test_the_top_k_goes_through_tgis_own_route(serve, connect) -> None:
    scripted = ScriptedEngine("Rest and drink enough.")
    server = serve(scripted)
    engine = connect(server.url)
    sampling = Sampling(temperature=0.5, top_k=7, stop=(" enough",), seed=1, max_tokens=50)
    assert await all_ways(engine, request(sampling=sampling)) == ["Rest and drink"] * 4
    assert {path for path, _ in server.requests} >= {"/generate", "/generate_stream"}
    assert scripted.calls[0].sampling.top_k == 7
    assert scripted.calls[0].messages[-1] == USER
    assert server.twice_begun == 0
    last = list(engine.stream(request(sampling=sampling)))[-1]
    assert last.finish_reason == "stop"
    assert last.usage.output_tokens > 0


def test_tokens_are_counted_by_the_server(tgi, connect) -> None:
    engine = connect(tgi.url)
    plain = engine.count_tokens([USER])
    assert engine.generate(request()).usage.input_tokens > 0
    assert engine.count_tokens([USER], [TOOL]) > plain > engine.count_tokens([USER], form="training")


def test_a_prompt_that_does_not_fit(serve, connect) -> None:
    engine = connect(serve(max_input_tokens=120).url)
    long = {"role": "user", "content": "sore " * 200}
    for ask in (engine.generate, lambda asked: list(engine.stream(asked))):
        with pytest.raises(
            ContextLengthError, match=r"in the 120 tokens .* found one of \d+ tokens"
        ) as caught:
            ask(request(long))
        assert "sore" not in str(caught.value)


async def test_the_oldest_turns_are_dropped_when_asked(serve, connect) -> None:
    scripted = ScriptedEngine("Rest.")
    engine = connect(serve(scripted, max_input_tokens=150).url)
    system = {"role": "system", "content": "Answer in French."}
    turns = [
        message
        for number in range(4)
        for message in (
            {"role": "user", "content": f"{number} " * 30},
            {"role": "assistant", "content": "Rest."},
        )
    ]
    asked = request(system, *turns, USER, overflow="drop_oldest")
    assert await all_ways(engine, asked) == ["Rest."] * 4
    seen = scripted.calls[0].messages
    assert seen[0]["content"].endswith("Answer in French.")
    assert "safety" in seen[0]["content"]
    assert seen[-1] == USER
    assert [message["content"][0] for message in seen[1:-1]] == ["3", "R"]
    with pytest.raises(ContextLengthError):
        engine.generate(request({"role": "user", "content": "sore " * 200}, overflow="drop_oldest"))


def test_batches(serve, connect) -> None:
    server = serve(
        lambda asked: (
            ValueError("no") if "bad" in asked.messages[-1]["content"] else asked.messages[-1]["content"]
        )
    )
    engine = connect(server.url, max_retries=0)
    asked = [request({"role": "user", "content": f"word{number}"}) for number in range(20)]
    assert [reply.text for reply in engine.generate_batch(asked)] == [f"word{number}" for number in range(20)]
    bad = [*asked, request({"role": "user", "content": "bad"})]
    found = engine.generate_batch(bad, return_exceptions=True)
    assert isinstance(found[-1], GenerationError)
    assert found[0].text == "word0"
    with pytest.raises(GenerationError):
        engine.generate_batch(bad)
    assert engine.generate_batch([]) == []


async def test_batches_in_an_event_loop(serve, connect) -> None:
    engine = connect(serve(lambda asked: asked.messages[-1]["content"]).url)
    asked = [request({"role": "user", "content": f"word{number}"}) for number in range(20)]
    assert [reply.text for reply in await engine.agenerate_batch(asked)] == [f"word{n}" for n in range(20)]
    found = await engine.agenerate_batch(
        [*asked, request({"role": "x", "content": "y"})], return_exceptions=True
    )
    assert isinstance(found[-1], DataFormatError)
    with pytest.raises(DataFormatError):
        await engine.agenerate_batch([request({"role": "x", "content": "y"}), *asked])


def test_it_asks_the_server_what_it_is_only_once(tgi, connect) -> None:
    engine = connect(tgi.url)
    assert engine.describe().context_length is None
    assert tgi.headers == []
    for _ in range(3):
        engine.generate(request())
    assert len(tgi.requests) == 3
    info = engine.describe()
    assert (info.model, info.context_length) == ("org/tiny-doctor", 8000)
    assert info.fingerprint == EndpointEngine(tgi.url).describe().fingerprint
    assert engine.probe().dialect.name == "tgi"


def test_a_token_for_the_address(serve, connect) -> None:
    server = serve(api_key="s3cret")
    assert connect(server.url, api_key="s3cret").generate(request()).text
    # /info needs none here; the answer does.
    with pytest.raises(EndpointAccessError, match="api_key") as caught:
        connect(server.url, api_key="wr0ng").generate(request())
    assert caught.value.status == 401
    assert "wr0ng" not in str(caught.value)


def test_a_refusal_tells_why_but_not_what_was_said(serve, connect) -> None:
    from tgi_rules import invalid

    server = serve()
    server.failing = [invalid("`stop` is wrong near Knee hurts, see Dr. Miller")]
    with pytest.raises(EndpointRequestError) as caught:
        connect(server.url).generate(request({"role": "user", "content": "Miller told me my knee hurts"}))
    assert "Input validation error: `stop` is wrong near … …, see Dr. …" in str(caught.value)
    assert caught.value.status == 422
    assert len(server.requests) == 1  # never again after a 4xx


def test_closed(tgi, connect) -> None:
    engine = connect(tgi.url)
    engine.generate(request())
    engine.close()
    engine.close()
    with pytest.raises(GenerationError, match="closed"):
        engine.generate(request())
    with pytest.raises(GenerationError, match="closed"):
        asyncio.run(engine.agenerate(request()))


def test_closing_a_stream_ends_the_request(serve, connect) -> None:
    server = serve("word " * 200, max_concurrent_requests=1)
    engine = connect(server.url, max_connections=1)
    for _ in range(3):
        stream = engine.stream(request())
        next(stream)
        stream.close()
    assert engine.generate(request(sampling=Sampling(max_tokens=1))).text == "word"


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({}, "base_url, or the Hub id"),
        ({"base_url": "localhost:8080"}, "http://"),
        ({"base_url": "http://"}, "address of a server"),
        ({"base_url": "http://x:y"}, "address of a server"),
        ({"base_url": "http://x/?key=1"}, "no '\\?'"),
        ({"base_url": "http://x", "provider": "together"}, "found both"),
        ({"base_url": "http://x", "dialect": "tgl"}, "did you mean 'tgi'"),
        ({"base_url": "http://x", "timeout": 0, "max_retries": -1}, "timeout .*max_retries"),
    ],
)
def test_settings_that_are_wrong(settings: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        EndpointEngine(**settings)


def test_messages_that_are_no_conversation(tgi, connect) -> None:
    with pytest.raises(DataFormatError):
        connect(tgi.url).generate(request({"role": "system", "content": "Be kind."}))
    assert tgi.headers == []
