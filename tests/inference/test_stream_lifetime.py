"""Streams of engines that nobody else holds."""

from __future__ import annotations

import gc

from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling

ASKED = ChatRequest(({"role": "user", "content": "Fever"},), Sampling(max_tokens=6))


def test_a_stream_keeps_its_engine(model, tokenizer):
    whole = LocalEngine.of(model, tokenizer).generate(ASKED)
    deltas = LocalEngine.of(model, tokenizer).stream(ASKED)
    gc.collect()
    assert "".join(delta.text for delta in deltas) == whole.text


async def test_an_asynchronous_one_too(model, tokenizer):
    whole = LocalEngine.of(model, tokenizer).generate(ASKED)
    deltas = LocalEngine.of(model, tokenizer).astream(ASKED)
    gc.collect()
    assert "".join([delta.text async for delta in deltas]) == whole.text
