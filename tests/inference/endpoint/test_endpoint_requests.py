"""What goes over the wire, dialect by dialect."""

from __future__ import annotations

import json

import pytest

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ChatRequest, Sampling
from chatdoctor_hub.inference.endpoint.dialects import DIALECTS, dialect_named
from chatdoctor_hub.inference.endpoint.requests import chat_payload

USER = {"role": "user", "content": "My knee hurts."}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Look it up."}}
SCHEMA = {"title": "An answer!", "type": "object", "properties": {"x": {"type": "string"}}}


def payload(
    dialect: str, *, sampling: Sampling | None = None, stream: bool = False, messages=(USER,), **more
):
    request = ChatRequest(tuple(messages), sampling or Sampling(), **more)
    return chat_payload(request, messages, DIALECTS[dialect], "the-model", stream=stream)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_what_every_server_gets(dialect: str) -> None:
    sampling = Sampling(temperature=0.5, top_p=0.9, max_tokens=7, seed=3, stop=("END",))
    found = payload(dialect, sampling=sampling)
    assert found["model"] == "the-model"
    assert found["messages"] == [USER]
    assert found["temperature"] == 0.5
    assert found["top_p"] == 0.9
    assert found["max_tokens"] == 7
    assert found["seed"] == 3
    assert found["stop"] == ["END"]
    assert found["stream"] is False
    json.dumps(found)


def test_tgi_never_gets_a_top_p_of_one() -> None:
    assert "top_p" not in payload("tgi")
    assert "top_p" not in payload("openai")


def test_defaults_of_the_server_are_overruled() -> None:
    """vLLM takes what the model's generation config says; llama.cpp draws from 40, with min_p."""
    assert {"top_p": 1.0, "top_k": -1, "repetition_penalty": 1.0}.items() <= payload("vllm").items()
    expected = {"top_p": 1.0, "top_k": 0, "repeat_penalty": 1.0, "min_p": 0.0}
    assert expected.items() <= payload("llama_cpp").items()


def test_usage_is_asked_for_where_it_must_be() -> None:
    assert payload("tgi", stream=True)["stream_options"] == {"include_usage": True}
    assert "stream_options" not in payload("tgi")
    assert "stream_options" not in payload("transformers", stream=True)


def test_only_as_many_stop_strings_as_the_server_takes() -> None:
    sampling = Sampling(stop=tuple("abcdef"))
    assert payload("tgi", sampling=sampling)["stop"] == list("abcd")
    assert payload("vllm", sampling=sampling)["stop"] == list("abcdef")


@pytest.mark.parametrize(
    ("dialect", "expected"),
    [
        ("tgi", {"type": "json_object", "value": SCHEMA}),
        ("vllm", {"type": "json_schema", "json_schema": {"name": "Ananswer", "schema": SCHEMA}}),
        ("openai", {"type": "json_schema", "json_schema": {"name": "Ananswer", "schema": SCHEMA}}),
        ("llama_cpp", {"type": "json_object", "schema": SCHEMA}),
    ],
)
def test_schemas(dialect: str, expected: dict) -> None:
    assert payload(dialect, response_schema=SCHEMA)["response_format"] == expected


def test_any_json_object() -> None:
    assert payload("tgi", response_schema={})["response_format"] == {
        "type": "json_object",
        "value": {"type": "object"},
    }
    assert payload("vllm", response_schema={})["response_format"] == {"type": "json_object"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("auto", "auto"),
        ("none", "none"),
        ("required", "required"),
        ("look_up", {"type": "function", "function": {"name": "look_up"}}),
    ],
)
@pytest.mark.parametrize("dialect", ["tgi", "vllm", "openai"])
def test_tools_and_choices(dialect: str, choice: str, expected: object) -> None:
    found = payload(dialect, tools=(TOOL,), tool_choice=choice)
    assert found["tool_choice"] == expected
    # TGI refuses a tool without parameters.
    assert found["tools"][0]["function"]["parameters"] == {"type": "object", "properties": {}}


def test_a_choice_goes_out_in_the_form_that_is_heeded() -> None:
    other = {"type": "function", "function": {"name": "other"}}
    words = payload("llama_cpp", tools=(other, TOOL), tool_choice="look_up")
    assert words["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in words["tools"]] == ["look_up"]
    named = payload("llama_cpp_python", tools=(TOOL,), tool_choice="required")
    assert named["tool_choice"] == {"type": "function", "function": {"name": "look_up"}}
    assert payload("llama_cpp_python", tools=(TOOL,), tool_choice="none")["tool_choice"] == "none"
    with pytest.raises(ConfigError, match="tool_choice of required"):
        payload("llama_cpp_python", tools=(other, TOOL), tool_choice="required")


def test_transformers_serve_gets_tools_but_no_choice() -> None:
    found = payload("transformers", tools=(TOOL,))
    assert found["tools"]
    assert "tool_choice" not in found
    assert "tools" not in payload("transformers", tools=(TOOL,), tool_choice="none")


@pytest.mark.parametrize(
    ("dialect", "wire"),
    [
        ("vllm", {"top_k": 5, "repetition_penalty": 1.25}),
        ("llama_cpp", {"top_k": 5, "repeat_penalty": 1.25}),
    ],
)
def test_settings_beyond_openais(dialect: str, wire: dict) -> None:
    found = payload(dialect, sampling=Sampling(temperature=1, top_k=5, repetition_penalty=1.25))
    assert wire.items() <= found.items()


def test_tgi_takes_a_repetition_penalty_as_presence_penalty_less_two() -> None:
    assert payload("tgi", sampling=Sampling(repetition_penalty=1.25))["presence_penalty"] == -0.75
    assert "presence_penalty" not in payload("tgi")


def test_transformers_serve_draws_only_when_told_so() -> None:
    found = payload(
        "transformers", sampling=Sampling(temperature=0.7, top_k=5, repetition_penalty=1.5, max_tokens=9)
    )
    assert json.loads(found["generation_config"]) == {
        "do_sample": True,
        "temperature": 0.7,
        "top_p": 1.0,
        "top_k": 5,
        "repetition_penalty": 1.5,
        "max_new_tokens": 9,
    }
    assert json.loads(payload("transformers")["generation_config"]) == {
        "do_sample": False,
        "max_new_tokens": 256,
    }


def test_penalties_and_logprobs() -> None:
    sampling = Sampling(frequency_penalty=0.5, presence_penalty=-0.5)
    found = payload("openai", sampling=sampling, logprobs=3)
    assert found["frequency_penalty"] == 0.5
    assert found["presence_penalty"] == -0.5
    assert found["logprobs"] is True
    assert found["top_logprobs"] == 3
    assert "top_logprobs" not in payload("openai", logprobs=0)


def test_an_adapter_goes_out_as_the_model() -> None:
    assert payload("tgi", adapter="me/lora")["model"] == "me/lora"
    assert payload("vllm", adapter="lora")["model"] == "lora"


@pytest.mark.parametrize(
    ("dialect", "more", "says"),
    [
        ("tgi", {"sampling": Sampling(presence_penalty=1)}, "presence_penalty"),
        ("openai", {"sampling": Sampling(top_k=4)}, "top_k"),
        ("openai", {"sampling": Sampling(repetition_penalty=2)}, "repetition_penalty"),
        ("transformers", {"sampling": Sampling(frequency_penalty=1)}, "frequency_penalty"),
        ("transformers", {"response_schema": {}}, "response schema"),
        ("transformers", {"logprobs": 2}, "logprobs"),
        ("transformers", {"tools": (TOOL,), "tool_choice": "required"}, "tool_choice of required"),
        ("transformers", {"tools": (TOOL,), "tool_choice": "look_up"}, "tool_choice of one tool"),
        ("llama_cpp", {"adapter": "lora"}, "adapter"),
    ],
)
def test_what_a_server_would_ignore_is_refused(dialect: str, more: dict, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        payload(dialect, **more)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match=r"logprobs.*tool_choice"):
        payload("transformers", logprobs=1, tools=(TOOL,), tool_choice="required")


@pytest.mark.parametrize("arguments", [{"q": "knee"}, '{"q": "knee"}'])
@pytest.mark.parametrize("content", ["Let me see.", ""])
def test_calls_and_their_results(arguments: object, content: str) -> None:
    calls = [{"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": arguments}}]
    messages = (
        USER,
        {"role": "assistant", "content": content, "tool_calls": calls},
        {"role": "tool", "content": "found", "tool_call_id": "call_1", "name": "look_up"},
    )
    for dialect in DIALECTS:
        _, said, result = payload(dialect, messages=messages)["messages"]
        assert said["tool_calls"] == [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "look_up", "arguments": '{"q": "knee"}'},
            }
        ]
        assert result == messages[2]
        # TGI reads a message with both as text alone.
        assert ("content" in said) is DIALECTS[dialect].text_with_calls


def test_dialects_by_name() -> None:
    assert dialect_named("vllm") is DIALECTS["vllm"]
    assert dialect_named(DIALECTS["tgi"]) is DIALECTS["tgi"]
    with pytest.raises(ConfigError, match="did you mean 'vllm'"):
        dialect_named("vlm")
