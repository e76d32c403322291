from __future__ import annotations

import subprocess
import sys

import pytest

from chatdoctor_hub.errors import ConfigError, DataFormatError, GenerationError
from chatdoctor_hub.inference import ChatRequest, Sampling, ScriptedEngine, Usage
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")


def ask(words="My knee hurts.", form="serving", **settings):
    return ChatRequest(({"role": "user", "content": words},), Sampling(**settings), form)


def test_replies_come_in_order_and_run_out():
    engine = ScriptedEngine(["Rest.", "Drink water."])
    assert [engine.generate(ask()).text for _ in range(2)] == ["Rest.", "Drink water."]
    with pytest.raises(GenerationError, match="request 3, found a script of 2"):
        engine.generate(ask())
    assert len(engine.calls) == 2


def test_replies_can_begin_again():
    engine = ScriptedEngine(["a", "b"], cycle=True)
    assert [engine.generate(ask()).text for _ in range(5)] == ["a", "b", "a", "b", "a"]
    assert [ScriptedEngine("same").generate(ask()).text for _ in range(2)] == ["same", "same"]


def test_a_function_sees_the_request_with_the_prompt_applied():
    engine = ScriptedEngine(lambda request: f"{len(request.messages)} {request.form}")
    assert engine.generate(ask()).text == "2 serving"
    assert engine.calls[0].messages[0] == {"role": "system", "content": PAIR.serving_text}
    engine.generate(ask(form="training"))
    assert engine.calls[1].messages[0] == {"role": "system", "content": PAIR.training_text}


def test_streams_word_by_word():
    engine = ScriptedEngine("  Rest well,\n\ndrink tea. ")
    deltas = list(engine.stream(ask()))
    assert [delta.text for delta in deltas] == ["  Rest", " well,", "\n\ndrink", " tea.", " ", ""]
    assert deltas[-1].finish_reason == "stop"
    assert all(delta.usage is None for delta in deltas[:-1])
    assert "".join(delta.text for delta in deltas) == engine.generate(ask()).text


def test_stop_strings_and_max_tokens_cut():
    engine = ScriptedEngine("Rest well and drink tea.")
    assert engine.generate(ask(stop=(" and",))).text == "Rest well"
    cut = engine.generate(ask(max_tokens=2))
    assert (cut.text, cut.finish_reason, cut.usage.output_tokens) == ("Rest well", "length", 2)
    assert engine.generate(ask(max_tokens=5)).finish_reason == "stop"


def test_usage_counts_words():
    engine = ScriptedEngine("Rest well.")
    words = len(PAIR.serving_text.split()) + 3
    assert engine.generate(ask()).usage == Usage(words, 2)
    assert engine.count_tokens(ask().messages) == words


def test_an_exception_in_the_script_is_raised():
    engine = ScriptedEngine(["ok", GenerationError("down"), "ok again"])
    replies = engine.generate_batch([ask()] * 3, return_exceptions=True)
    assert [getattr(reply, "text", None) for reply in replies] == ["ok", None, "ok again"]
    assert isinstance(replies[1], GenerationError)
    with pytest.raises(GenerationError, match="down"):
        ScriptedEngine([GenerationError("down")]).generate(ask())


def test_bad_messages_are_refused_and_not_counted():
    engine = ScriptedEngine(["only one"])
    with pytest.raises(DataFormatError):
        engine.generate(ChatRequest(()))
    assert engine.generate(ask()).text == "only one"


def test_no_reply_and_a_closed_engine():
    with pytest.raises(ConfigError, match="at least one scripted reply"):
        ScriptedEngine([])
    engine = ScriptedEngine("Rest.")
    engine.close()
    engine.close()
    with pytest.raises(GenerationError, match="closed"):
        engine.generate(ask())


def test_a_script_may_ask_the_engine_itself():
    inner: list[ScriptedEngine] = []
    engine = ScriptedEngine(
        lambda request: "done" if len(inner[0].calls) > 1 else inner[0].generate(request).text
    )
    inner.append(engine)
    assert engine.generate(ask()).text == "done"


async def test_async_twins():
    engine = ScriptedEngine("Rest well.")
    assert (await engine.agenerate(ask())).text == "Rest well."
    assert [reply.text for reply in await engine.agenerate_batch([ask()] * 2)] == ["Rest well."] * 2
    assert [delta.text async for delta in engine.astream(ask())] == ["Rest", " well.", ""]
    await engine.aclose()


def test_needs_nothing_heavy():
    code = (
        "import sys; from chatdoctor_hub.inference import *; ScriptedEngine('Rest.').generate("
        "ChatRequest(({'role': 'user', 'content': 'Hello'},)));"
        "print([m for m in ('torch', 'transformers', 'peft', 'langchain_core', 'httpx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
