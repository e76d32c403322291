"""Tools in answers of a model that was never trained."""

from __future__ import annotations

import json

import pytest

from chatdoctor_hub.errors import ConfigError, ContextLengthError, DataFormatError
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

pytest.importorskip("llguidance")

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["place", "days"],
        },
    },
}
DOSE = {
    "type": "function",
    "function": {
        "name": "dose",
        "description": "A dose.",
        "parameters": {
            "type": "object",
            "properties": {"drug": {"enum": ["ibuprofen", "none"]}},
            "required": ["drug"],
        },
    },
}
STOP = {"type": "function", "function": {"name": "stop"}}
TOOLS = (WEATHER, DOSE, STOP)


def asked(words="Fever", tools=TOOLS, choice="required", messages=(), **settings):
    settings.setdefault("max_tokens", 150)
    return ChatRequest(
        ({"role": "user", "content": words}, *messages), Sampling(**settings), tools=tools, tool_choice=choice
    )


@pytest.mark.parametrize("choice", ["get_weather", "dose", "stop"])
@pytest.mark.parametrize("settings", [{}, {"temperature": 2.0, "seed": 3}])
def test_a_named_choice_makes_one_call_of_that_tool(engine, choice, settings):
    reply = engine.generate(asked(choice=choice, **settings))
    assert [call.name for call in reply.tool_calls] == [choice]
    assert reply.invalid_tool_calls == ()
    assert reply.text == ""
    if choice == "get_weather":
        assert set(reply.tool_calls[0].arguments) == {"place", "days"}
        assert isinstance(reply.tool_calls[0].arguments["days"], int)


@pytest.mark.parametrize("settings", [{}, {"temperature": 2.0, "seed": 3}, {"temperature": 2.0, "seed": 5}])
def test_required_makes_at_least_one_call(engine, settings):
    reply = engine.generate(asked(**settings))
    assert reply.tool_calls
    assert {call.name for call in reply.tool_calls} <= {"get_weather", "dose", "stop"}
    assert len({call.id for call in reply.tool_calls}) == len(reply.tool_calls)
    assert reply.invalid_tool_calls == ()


def test_the_pieces_of_a_stream_make_the_call(engine):
    request = asked(choice="get_weather")
    reply = engine.generate(request)
    deltas = list(engine.stream(request))
    pieces = [piece for delta in deltas for piece in delta.tool_calls]
    assert len(pieces) > 3, "arguments come bit by bit"
    assert [(piece.id, piece.name) for piece in pieces if piece.name] == [
        (reply.tool_calls[0].id, "get_weather")
    ]
    assert json.loads("".join(piece.arguments for piece in pieces)) == reply.tool_calls[0].arguments
    assert deltas[-1].finish_reason == reply.finish_reason


def test_calls_do_not_depend_on_the_batch(engine, ask):
    requests = [
        asked("pain", choice="dose"),
        ask(max_tokens=9),
        asked(max_tokens=90),
        asked(choice="auto", max_tokens=9),
    ]
    alone = [engine.generate(request) for request in requests]
    assert engine.generate_batch(requests) == alone
    assert [bool(reply.tool_calls) for reply in alone] == [True, False, True, False]


def test_a_call_that_ends_by_itself_is_the_finish_reason(engine):
    assert engine.generate(asked(choice="stop")).finish_reason == "tool_calls"


def test_none_tells_the_model_of_no_tools(engine, ask):
    assert engine.generate(asked(choice="none", max_tokens=8)) == engine.generate(ask("Fever", max_tokens=8))


def test_tools_count(engine):
    messages = asked().messages
    assert engine.count_tokens(messages, TOOLS) > engine.count_tokens(messages, TOOLS[:1])
    assert engine.count_tokens(messages, TOOLS[:1]) > engine.count_tokens(messages)
    assert engine.generate(asked(choice="stop")).usage.input_tokens == engine.count_tokens(messages, TOOLS)


def test_the_safety_prompt_comes_first_and_once(engine):
    system = {"role": "system", "content": "Answer in French."}
    request = ChatRequest((system, {"role": "user", "content": "Fever"}), tools=TOOLS)
    text = engine._prompter._prompt(request)
    assert text.count(engine.prompt.safety) == 1
    assert (
        text.index(engine.prompt.serving_text) < text.index("Answer in French.") < text.index("get_weather")
    )
    bare = engine._prompter._prompt(ChatRequest(request.messages[1:], form="training", tools=TOOLS))
    assert engine.prompt.safety not in bare
    assert "get_weather" in bare


def test_an_adapter_that_is_not_there_is_refused(engine):
    with pytest.raises(ConfigError, match="'second'"):
        engine.generate(ChatRequest(({"role": "user", "content": "Fever"},), adapter="second"))


def test_a_conversation_with_calls_and_results(engine):
    call = {"id": "a1", "type": "function", "function": {"name": "dose", "arguments": '{"drug": "none"}'}}
    history = ({"role": "assistant", "content": None, "tool_calls": [call]},
               {"role": "tool", "tool_call_id": "a1", "content": "0 mg"})  # fmt: skip
    assert engine.generate(asked(messages=history, choice="auto", max_tokens=4)).usage.output_tokens == 4
    assert (
        engine.generate(asked(tools=(), messages=history, choice="auto", max_tokens=4)).usage.output_tokens
        == 4
    )


def test_a_result_without_its_call_is_refused(engine):
    history = ({"role": "tool", "tool_call_id": "a1", "content": "secret"},)
    with pytest.raises(DataFormatError, match="message 1 to belong to a call") as caught:
        engine.generate(asked(messages=history))
    assert "secret" not in str(caught.value)


def test_logprobs_of_every_token(engine, ask, model):
    request = ChatRequest(ask().messages, Sampling(max_tokens=6), logprobs=3)
    reply = engine.generate(request)
    assert reply.logprobs is not None
    assert len(reply.logprobs) == 6
    for item in reply.logprobs:
        assert item.top[0] == (item.token, item.logprob)
        assert len(item.top) == 3
        assert item.logprob <= 0
    streamed = [item for delta in engine.stream(request) for item in delta.logprobs or ()]
    assert tuple(streamed) == reply.logprobs
    assert engine.generate(ask()).logprobs is None


def test_thoughts_are_told_apart_and_come_before_the_json(model, tokenizer):
    import copy

    thinker = copy.deepcopy(tokenizer)
    thinker.chat_template = tokenizer.chat_template.replace(
        "{{ '<|assistant|>' }}", "{{ '<|assistant|><think>\\n' }}"
    ).replace("{{ bos_token }}", "{{ bos_token }}{# <think></think> #}")
    engine = LocalEngine.of(model, thinker)
    free = engine.generate(ChatRequest(({"role": "user", "content": "pain"},), Sampling(max_tokens=12)))
    assert (free.text, free.finish_reason) == ("", "length")
    assert free.reasoning
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    request = ChatRequest(
        ({"role": "user", "content": "pain"},), Sampling(max_tokens=60), response_schema=schema
    )
    reply = engine.generate(request)
    assert set(json.loads(reply.text)) == {"a"}
    assert reply.reasoning
    assert "think" not in reply.text
    deltas = list(engine.stream(request))
    assert "".join(delta.reasoning for delta in deltas) == reply.reasoning
    assert "".join(delta.text for delta in deltas) == reply.text


@pytest.fixture
def engine(model, tokenizer, monkeypatch):
    """With room for tools in its context; the model has no weights for positions."""
    monkeypatch.setattr(model.config, "max_position_embeddings", 2048)
    return LocalEngine.of(model, tokenizer, name="tiny")


def test_old_turns_are_dropped_when_asked(engine):
    old = [{"role": "user", "content": "How long? " * 400}, {"role": "assistant", "content": "A week. " * 90}]
    messages = (*old, *old, {"role": "user", "content": "Fever"})
    with pytest.raises(ContextLengthError):
        engine.generate(ChatRequest(messages, Sampling(max_tokens=4)))
    reply = engine.generate(ChatRequest(messages, Sampling(max_tokens=4), overflow="drop_oldest"))
    assert reply == engine.generate(ChatRequest(messages[-1:], Sampling(max_tokens=4)))
    with pytest.raises(ContextLengthError):
        engine.generate(
            ChatRequest((*old, {"role": "user", "content": "How? " * 3000}), overflow="drop_oldest")
        )
