from __future__ import annotations

import dataclasses

import pytest

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ChatReply, ChatRequest, Sampling, Usage


def test_sampling_is_greedy_by_default():
    assert Sampling() == Sampling(
        temperature=0.0, top_p=1.0, top_k=0, repetition_penalty=1.0, max_tokens=256, stop=(), seed=None
    )


@pytest.mark.parametrize(
    ("settings", "allowed"),
    [
        ({"max_tokens": 0}, "max_tokens must be a whole number of at least 1, found 0"),
        ({"max_tokens": -5}, "found -5"),
        ({"max_tokens": 2.5}, "found 2.5"),
        ({"max_tokens": True}, "found True"),
        ({"temperature": -0.1}, "temperature must be a number of at least 0"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": "hot"}, "temperature"),
        ({"top_p": 0}, "top_p must be a number above 0 and at most 1"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_k": -1}, "top_k must be a whole number of at least 0"),
        ({"repetition_penalty": 0}, "repetition_penalty must be a number above 0"),
        ({"seed": -1}, "seed must be None or a whole number from 0"),
        ({"seed": 2**63}, "seed"),
        ({"stop": ("",)}, "stop must be strings that are not empty"),
        ({"stop": (3,)}, "stop must be strings"),
        ({"stop": 3}, "stop must be strings"),
    ],
)
def test_sampling_says_what_is_allowed(settings, allowed):
    with pytest.raises(ConfigError) as caught:
        Sampling(**settings)
    assert allowed in str(caught.value)


def test_sampling_lists_every_fault_at_once():
    with pytest.raises(ConfigError) as caught:
        Sampling(temperature=-1, top_p=2, max_tokens=0)
    assert all(name in str(caught.value) for name in ("temperature", "top_p", "max_tokens"))
    assert "\n" not in str(caught.value)


def test_stop_takes_one_string_a_list_or_none():
    assert Sampling(stop="END").stop == ("END",)
    assert Sampling(stop=["a", "b"]).stop == ("a", "b")
    assert Sampling(stop=None).stop == ()


def test_values_are_frozen_and_hashable_settings():
    sampling = Sampling(temperature=0.5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        sampling.temperature = 1.0
    assert hash(sampling) == hash(Sampling(temperature=0.5))


def test_request_takes_any_sequence_and_one_of_two_forms():
    request = ChatRequest([{"role": "user", "content": "Hello"}])
    assert request.messages == ({"role": "user", "content": "Hello"},)
    assert request.form == "serving"
    with pytest.raises(ConfigError, match="serving, training"):
        ChatRequest((), form="raw")


def test_usage_adds_up():
    reply = ChatReply("Rest.", "stop", Usage(7, 3), "tiny")
    assert reply.usage.total_tokens == 10
