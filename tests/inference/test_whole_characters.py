"""Texts that break off within a character: half an emoji, as programs leave that count in UTF-16."""

from __future__ import annotations

import traceback

import pytest

from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.inference import ChatRequest, ScriptedEngine

HALF = "\ud83e"


@pytest.fixture(params=["local", "scripted"])
def either(request, engine):
    return engine if request.param == "local" else ScriptedEngine("Rest.")


async def test_they_are_refused_by_their_number(either):
    talk = ({"role": "user", "content": "Hi"}, {"role": "assistant", "content": f"Meier {HALF}"})
    request = ChatRequest((*talk, talk[0]))
    for call in (either.generate, lambda asked: list(either.stream(asked))):
        with pytest.raises(
            DataFormatError, match=r"message 1 \(assistant\) to be whole characters"
        ) as caught:
            call(request)
        assert "Meier" not in "".join(traceback.format_exception(caught.value))
    with pytest.raises(DataFormatError, match="whole characters"):
        await either.agenerate(request)


def test_in_tools_and_texts_too(engine):
    tool = {"type": "function", "function": {"name": "look_up", "description": f"Look {HALF}"}}
    with pytest.raises(DataFormatError, match="whole characters"):
        engine.generate(ChatRequest(({"role": "user", "content": "Hi"},), tools=(tool,)))
    with pytest.raises(DataFormatError, match="whole characters"):
        engine.encode(HALF)
    assert engine.encode("🤒")
