"""Faults that a widely used chat model over open weights was found to have; none of them here."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import AIMessage, HumanMessage

from chatdoctor_hub.errors import ConfigError, GenerationError
from chatdoctor_hub.inference import LocalEngine, ScriptedEngine, ToolCall
from chatdoctor_hub.langchain import ChatDoctor

CACHING = pytest.mark.parametrize(
    "other",
    [
        {"model": "org/other"},
        {"base_url": "http://127.0.0.1:8"},
        {"adapter": "triage"},
        {"safety": None},
        {"top_p": 0.9},
        {"seed": 1},
        {"frequency_penalty": 0.1},
        {"top_logprobs": 2},
        {"provider": "x"},
        {"dialect": "vllm"},
    ],
    ids=str,
)


@pytest.mark.filterwarnings("ignore:safety=None")
@CACHING
def test_two_models_share_no_cached_answers(other):
    one = {"model": "org/one", "base_url": "http://127.0.0.1:9"}
    keys = {ChatDoctor(**given)._get_llm_string() for given in (one, {**one, **other})}
    if "provider" in other:
        one = {"model": "hf:org/one"}
        keys = {ChatDoctor(**given)._get_llm_string() for given in (one, {**one, **other})}
    assert len(keys) == 2


def test_what_is_bound_is_part_of_the_key():
    def lookup(name: str) -> str:
        """Look a disease up."""
        return name

    form = {"title": "T", "type": "object", "properties": {"a": {"type": "string"}}}
    given = [
        {},
        {"tools": [lookup]},
        {"tools": [lookup], "tool_choice": "any"},
        {"response_format": form},
        {"response_format": {**form, "properties": {"b": {"type": "string"}}}},
        {"seed": 3},
        {"model": "triage"},
        {"logprobs": True},
    ]
    llm = ChatDoctor(engine=ScriptedEngine("x"))
    assert len({llm._get_llm_string(**one) for one in given}) == len(given)
    assert llm._get_llm_string(temperature=0.0) == llm._get_llm_string()
    assert llm._get_llm_string(stop=["a"]) == llm._get_llm_string(stop=["a"]) != llm._get_llm_string()


def test_cached_calls_are_found_again():
    engine = ScriptedEngine(ToolCall("f", {"a": 1}, "call-1"))
    llm = ChatDoctor(engine=engine, cache=InMemoryCache())
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
    said = [llm.bind_tools([tool]).invoke("Hi").tool_calls for _ in range(3)]
    assert said[0] == said[1] == said[2]
    assert len(engine.calls) == 1


@pytest.mark.parametrize(
    "name", ["top_p", "seed", "frequency_penalty", "presence_penalty", "repetition_penalty"]
)
def test_every_setting_reaches_the_engine(name, script):
    value = 1 if name == "seed" else 0.5
    ChatDoctor(engine=script, **{name: value}).invoke("Hi")
    ChatDoctor(engine=script).invoke("Hi", **{name: value})
    ChatDoctor(engine=script).bind(**{name: value}).invoke("Hi")
    assert [getattr(call.sampling, name) for call in script.calls] == [value] * 3


@pytest.mark.parametrize("name", ["num_beams", "best_of", "logit_bias", "n", "parallel_tool_calls"])
def test_nothing_is_silently_ignored(name, scripted, script):
    with pytest.raises(ConfigError, match=repr(name)):
        ChatDoctor(engine=script, **{name: 1})
    with pytest.raises(ConfigError, match=repr(name)):
        scripted.invoke("Hi", **{name: 1})
    assert script.calls == []


def test_tokens_are_counted_offline_and_are_never_none(scripted, llm):
    for model in (scripted, llm):
        assert model.get_num_tokens_from_messages([HumanMessage("Fever")]) > 5
        assert model.get_num_tokens("Fever and cough") > 0


def test_stop_strings_are_heeded_and_not_part_of_the_answer(llm):
    whole = llm.invoke("Fever").content
    stop = whole[4:7]
    for text in (
        llm.invoke("Fever", stop=[stop]).content,
        "".join(chunk.content for chunk in llm.stream("Fever", stop=[stop])),
    ):
        assert text == whole[: whole.index(stop)]


def test_an_error_while_generating_reaches_the_caller_at_once(model, tokenizer):
    engine = LocalEngine.of(model, tokenizer, name="tiny")
    stream = ChatDoctor(engine=engine, max_tokens=50).stream("Fever")
    next(stream)
    engine.close()
    before = time.monotonic()
    with pytest.raises(GenerationError):
        list(stream)
    assert time.monotonic() - before < 5


def test_a_batch_is_one_call(llm, forwards):
    llm.batch(["Fever"] * 8, max_tokens=3)
    assert len(forwards) <= 3


def test_no_thread_is_left_behind(llm):
    before = threading.active_count()
    stream = llm.stream("Fever", max_tokens=100)
    next(stream)
    stream.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("last", [AIMessage("It may be"), HumanMessage("Hi")])
def test_the_last_message_need_not_be_human(scripted, last):
    assert scripted.invoke([HumanMessage("Hi"), last]).content


def test_importing_it_loads_neither_the_engine_nor_the_servers_client():
    code = (
        "import sys; from chatdoctor_hub import ChatDoctor; ChatDoctor(model='org/name');"
        "print([m for m in ('torch', 'transformers', 'peft', 'chatdoctor_hub.inference.endpoint',"
        "'chatdoctor_hub.langchain.structured', 'chatdoctor_hub.langchain.deadline',"
        "'chatdoctor_hub.knowledge') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ten_constructions_are_quick():
    """At most half a millisecond on a machine that does nothing else; the best of many tries here."""
    ChatDoctor(model="org/name")
    best = min(_ten() for _ in range(50))
    assert best < 0.002, f"{best * 1e3:.2f} ms"


def _ten() -> float:
    before = time.perf_counter()
    for _ in range(10):
        ChatDoctor(model="org/name")
    return time.perf_counter() - before
