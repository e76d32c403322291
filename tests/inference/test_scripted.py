from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from chatdoctor_hub.errors import ConfigError, ContextLengthError, DataFormatError, GenerationError
from chatdoctor_hub.inference import (
    ChatReply,
    ChatRequest,
    InvalidToolCall,
    Sampling,
    ScriptedEngine,
    ToolCall,
    Usage,
)
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


# Calls, thoughts and whole replies

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {"type": "object"}}}
CALL = ToolCall("lookup", {"name": "gout"}, "call-1")


def asking(**settings):
    return ChatRequest(({"role": "user", "content": "My knee hurts."},), **settings)


def test_a_call_for_an_answer_whole_and_in_pieces():
    engine = ScriptedEngine([CALL, (CALL,), CALL, "Rest."])
    request = asking(tools=(TOOL,))
    for _ in range(2):
        reply = engine.generate(request)
        assert (reply.text, reply.tool_calls, reply.finish_reason) == ("", (CALL,), "tool_calls")
    pieces = [piece for delta in engine.stream(request) for piece in delta.tool_calls]
    assert (pieces[0].id, pieces[0].name) == ("call-1", "lookup")
    assert {piece.index for piece in pieces} == {0}
    assert "".join(piece.arguments for piece in pieces) == '{"name": "gout"}'
    assert len(pieces) > 2
    assert engine.generate(request).finish_reason == "stop"


def test_a_whole_reply_is_kept():
    broken = InvalidToolCall("{", "no JSON", "lookup", "call-2")
    given = ChatReply(
        "I look.", "tool_calls", Usage(5, 9), "x", (CALL,), (broken,), reasoning="Gout?", refusal=""
    )
    engine = ScriptedEngine(given)
    reply = engine.generate(asking(tools=(TOOL,)))
    assert reply == replace(given, model="scripted")
    deltas = list(engine.stream(asking(tools=(TOOL,))))
    assert "".join(delta.reasoning for delta in deltas) == "Gout?"
    assert {piece.index for delta in deltas for piece in delta.tool_calls} == {0, 1}
    assert (deltas[-1].finish_reason, deltas[-1].usage) == ("tool_calls", Usage(5, 9))


@pytest.mark.parametrize(
    ("reply", "settings", "says"),
    [
        ("Rest.", {"tools": (TOOL,), "tool_choice": "required"}, "to call a tool"),
        ("Rest.", {"tools": (TOOL,), "tool_choice": "lookup"}, "to call 'lookup'"),
        (CALL, {"tools": (TOOL,), "tool_choice": "none"}, "no tool may be called"),
        (CALL, {}, "no tool may be called"),
        ("Rest.", {"response_schema": {}}, "to be JSON"),
    ],
)
def test_a_script_that_a_model_could_not_have_followed(reply, settings, says):
    with pytest.raises(GenerationError, match=says):
        ScriptedEngine(reply).generate(asking(**settings))


def test_adapters_and_likely_tokens():
    engine = ScriptedEngine("Rest well.", adapters=["triage"])
    assert engine.generate(asking(adapter="triage")).model == "triage"
    with pytest.raises(ConfigError, match="found 'other'"):
        engine.generate(asking(adapter="other"))
    assert [token.token for token in engine.generate(asking(logprobs=0)).logprobs] == ["Rest", " well."]
    assert len(engine.calls) == 2


def test_a_prompt_that_does_not_fit():
    words = len(PAIR.serving_text.split())
    engine = ScriptedEngine("Rest.", context_length=words + 6)
    talk = [{"role": role, "content": "My knee hurts."} for role in ("user", "assistant", "user")]
    with pytest.raises(ContextLengthError, match=f"less than {words + 6} tokens, found {words + 9}"):
        engine.generate(ChatRequest(tuple(talk)))
    engine.generate(ChatRequest(tuple(talk), overflow="drop_oldest"))
    assert [message["role"] for message in engine.calls[0].messages] == ["system", "user"]


def test_tools_and_forms_are_counted():
    engine = ScriptedEngine("Rest.")
    plain = engine.count_tokens(ask().messages)
    assert engine.count_tokens(ask().messages, [TOOL]) > plain
    assert engine.count_tokens(ask().messages, form="training") < plain


def test_one_error_is_a_script_too():
    engine = ScriptedEngine(TimeoutError("late"))
    for _ in range(2):
        with pytest.raises(TimeoutError, match="late"):
            engine.generate(ask())


@pytest.mark.parametrize("script", [3, None, [None], ["Rest.", 3], (text for text in "ab"), [["Rest."]], {}])
def test_what_is_no_reply_is_refused(script):
    with pytest.raises(ConfigError, match="scripted reply"):
        ScriptedEngine(script)


def test_a_function_that_makes_none():
    with pytest.raises(GenerationError, match="found NoneType"):
        ScriptedEngine(lambda _: None).generate(ask())
