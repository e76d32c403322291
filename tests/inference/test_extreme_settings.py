"""Settings at the edge of what numbers can hold, which must not harm the neighbours either."""

from __future__ import annotations

import pytest

from chatdoctor_hub.inference import ChatRequest, Sampling

TALK = ({"role": "user", "content": "I have a sore throat."},)
EXTREME = [
    {"temperature": 1e-46},
    {"temperature": 1e-40},
    {"temperature": 1e300},
    {"temperature": 1.0, "top_k": 10**400},
    {"temperature": 1.0, "top_p": 1e-300},
    {"temperature": 1.0, "repetition_penalty": 1e-300},
    {"temperature": 1e-46, "repetition_penalty": 1e-300},
    {"repetition_penalty": 1e300},
    {"temperature": 1e-40, "repetition_penalty": 1e300, "frequency_penalty": -2},
]


@pytest.mark.parametrize("settings", EXTREME)
def test_they_are_answered_and_so_are_their_neighbours(engine, settings):
    plain = ChatRequest(TALK, Sampling(max_tokens=8))
    extreme = ChatRequest(TALK, Sampling(max_tokens=8, seed=1, **settings))
    alone = engine.generate(plain)
    together = engine.generate_batch([plain, extreme, plain])
    assert [together[0].text, together[2].text] == [alone.text] * 2
    assert together[1].usage.output_tokens


def test_hardly_any_temperature_is_none(engine):
    texts = [
        engine.generate(ChatRequest(TALK, Sampling(max_tokens=8, seed=1, temperature=temperature))).text
        for temperature in (0.0, 1e-46, 1e-40)
    ]
    assert len(set(texts)) == 1
