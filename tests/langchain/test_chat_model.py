from __future__ import annotations

import copy
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField

from chatdoctor_hub.errors import (
    ChatDoctorError,
    ConfigError,
    DataFormatError,
    GenerationError,
    ModelNotFoundError,
)
from chatdoctor_hub.inference import ChatRequest, LocalEngine, Sampling, ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")


def request(words, **settings):
    return ChatRequest(({"role": "user", "content": words},), Sampling(**{"max_tokens": 12, **settings}))


# The same text as the engine


def test_invoke_says_what_the_engine_says(llm, engine):
    want = engine.generate(request("Fever"))
    message = llm.invoke("Fever")
    assert isinstance(message, AIMessage)
    assert message.content == want.text
    assert message.usage_metadata["input_tokens"] == want.usage.input_tokens
    assert message.usage_metadata["output_tokens"] == want.usage.output_tokens
    assert message.response_metadata["finish_reason"] == want.finish_reason
    assert message.response_metadata["model_name"] == "tiny"
    assert message.response_metadata["serving_sha256"] == PAIR.serving_sha256


def test_stream_says_the_same_and_counts_once(llm):
    whole = llm.invoke("Fever")
    chunks = list(llm.stream("Fever"))
    added = chunks[0]
    for chunk in chunks[1:]:
        added += chunk
    assert added.content == whole.content
    assert added.usage_metadata == whole.usage_metadata
    assert {k: added.response_metadata[k] for k in whole.response_metadata} == whole.response_metadata
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1
    assert len(chunks) > 3


async def test_async_twins_say_the_same(llm):
    whole = llm.invoke("Fever")
    again = await llm.ainvoke("Fever")
    assert (again.content, again.usage_metadata) == (whole.content, whole.usage_metadata)
    assert "".join([chunk.content async for chunk in llm.astream("Fever")]) == whole.content


def test_settings_reach_the_engine_from_constructor_and_call(script):
    llm = ChatDoctor(
        engine=script,
        temperature=0.7,
        top_p=0.9,
        top_k=5,
        repetition_penalty=1.1,
        frequency_penalty=0.2,
        presence_penalty=0.1,
        max_tokens=7,
        stop="x",
        seed=3,
    )
    llm.invoke("Hello")
    llm.invoke("Hello", stop=["a", "b"], temperature=0, seed=4, max_tokens=9)
    llm.bind(top_k=1).invoke("Hello")
    assert [call.sampling for call in script.calls] == [
        Sampling(0.7, 0.9, 5, 1.1, 0.2, 0.1, 7, ("x",), 3),
        Sampling(0.0, 0.9, 5, 1.1, 0.2, 0.1, 9, ("a", "b"), 4),
        Sampling(0.7, 0.9, 1, 1.1, 0.2, 0.1, 7, ("x",), 3),
    ]


def test_conversations_chains_and_the_safety_prompt(scripted, script):
    chain = (
        ChatPromptTemplate.from_messages([("system", "Be brief."), ("human", "{q}")])
        | scripted
        | StrOutputParser()
    )
    assert chain.invoke({"q": "My toe hurts."}) == "Rest well and drink tea."
    scripted.invoke([HumanMessage("Hi"), AIMessage("Hello, what is wrong?"), HumanMessage("My toe.")])
    first, second = (call.messages for call in script.calls)
    assert first[0]["content"] == f"{PAIR.serving_text}\n\nBe brief."
    assert [message["role"] for message in second] == ["system", "user", "assistant", "user"]
    assert all(call.form == "serving" for call in script.calls)


@pytest.mark.parametrize("way", ["invoke", "stream", "batch", "ainvoke", "astream", "abatch"])
async def test_the_safety_prompt_is_there_once_on_every_path(scripted, script, way):
    messages = [SystemMessage(PAIR.serving_text), HumanMessage("Hello")]
    if way == "stream":
        list(scripted.stream(messages))
    elif way == "astream":
        [chunk async for chunk in scripted.astream(messages)]
    elif way in ("batch", "abatch"):
        done = getattr(scripted, way)([messages, messages])
        await done if way == "abatch" else None
    else:
        done = getattr(scripted, way)(messages)
        await done if way == "ainvoke" else None
    assert script.calls
    assert all(str(call.messages).count(PAIR.safety[:60]) == 1 for call in script.calls)


# What is wrong is said at once


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"model": "x", "temprature": 1}, "'temprature': did you mean 'temperature'?"),
        ({"model": "x", "max_token": 1}, "did you mean 'max_tokens'?"),
        ({"model": "x", "quux": 1}, "'quux': leave it out"),
        ({"model": "x", "timeout": 0}, "timeout: Input should be greater than 0"),
        ({"model": "x", "max_new_tokens": 3}, "did you mean 'max_tokens'?"),
        ({"model": "x", "prompt": "chatdoctor@1"}, "did you mean 'safety'?"),
        ({"model": "x", "dialect": "tgi"}, "dialect to be for a model that runs elsewhere"),
        ({"base_url": "http://localhost:1", "device": "cpu"}, "device to be left to the server"),
        ({"model": "hf:org/name", "dtype": "float32"}, "dtype to be left to the server"),
        ({"model": "x", "safety": 3}, "safety to be a prompt's id"),
        ({"model": "x", "top_logprobs": 2, "logprobs": False}, "top_logprobs together with logprobs"),
        ({"model": "x", "temperature": -1, "top_p": 3}, "top_p must be"),
        ({"model": "x", "max_tokens": 0}, "max_tokens must be a whole number of at least 1"),
        ({"model": "x", "max_tokens": "many"}, "max_tokens: Input should be a valid integer"),
        ({}, "found neither"),
        ({"model": "x", "engine": ScriptedEngine("x")}, "found both"),
        ({"engine": "tiny"}, "instance of Engine"),
        ({"engine": ScriptedEngine("x"), "safety": "chatdoctor@1"}, "safety to be the engine's own"),
        ({"engine": ScriptedEngine("x"), "timeout": 3}, "timeout to be the engine's own"),
    ],
)
def test_wrong_arguments(settings, says):
    with pytest.raises(ConfigError) as caught:
        ChatDoctor(**settings)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"temprature": 1}, "did you mean 'temperature'?"),
        ({"model": "another"}, "found 'another'"),
        ({"functions": []}, "did you mean 'tools'?"),
        ({"max_tokens": 0}, "at least 1"),
    ],
)
def test_wrong_arguments_of_a_call(scripted, script, given, says):
    with pytest.raises(ConfigError, match=says.replace("?", r"\?")):
        scripted.invoke("Hello", **given)
    assert script.calls == []
    assert scripted.invoke("Hello", model="scripted").content


def test_messages_that_are_no_conversation(scripted):
    with pytest.raises(DataFormatError):
        scripted.invoke([])
    with pytest.raises(DataFormatError, match="besides the system message"):
        scripted.invoke([SystemMessage("Be brief.")])
    with pytest.raises(DataFormatError, match="message 1 \\(tool\\) to answer a call"):
        scripted.invoke([HumanMessage("Hi"), ToolMessage("gout", tool_call_id="1")])
    with pytest.raises(DataFormatError, match="'doctor'"):
        scripted.invoke([ChatMessage("Hi", role="doctor")])
    with pytest.raises(DataFormatError, match="'image_url'"):
        scripted.invoke([HumanMessage([{"type": "image_url", "image_url": {"url": "x"}}])])


# Loading


def test_the_model_is_loaded_at_the_first_call_and_once(model_folder, monkeypatch):
    made = []
    init = LocalEngine.__init__

    def counting(self, *args, **kwargs):
        made.append(threading.get_ident())
        init(self, *args, **kwargs)

    monkeypatch.setattr(LocalEngine, "__init__", counting)
    llm = ChatDoctor(model=model_folder, max_tokens=3, device="cpu")
    assert made == []
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda _: llm.invoke("Fever").content, range(8)))
    assert len(made) == 1
    assert len(set(texts)) == 1
    assert copy.deepcopy(llm).invoke("Fever").content == texts[0]
    cut = llm.configurable_fields(max_tokens=ConfigurableField(id="max_tokens"))
    assert (
        cut.with_config(configurable={"max_tokens": 1}).invoke("Fever").usage_metadata["output_tokens"] == 1
    )
    assert len(made) == 1, "copies share the engine"


async def test_loading_does_not_block_the_event_loop(model_folder):
    llm = ChatDoctor(model=str(model_folder), max_tokens=3, device="cpu")
    assert (await llm.ainvoke("Fever")).content == llm.invoke("Fever").content


def test_a_release_is_served_under_its_own_prompt(release_folder):
    llm = ChatDoctor(model=release_folder, max_tokens=8, device="cpu")
    described = llm.asdict()
    assert (described["prompt"], described["serving_sha256"]) == (PAIR.id, PAIR.serving_sha256)
    engine = LocalEngine(release_folder, device="cpu")
    want = engine.generate(request("Fever", max_tokens=8))
    message = llm.invoke("Fever")
    assert message.content == want.text == "".join(chunk.content for chunk in llm.stream("Fever"))
    assert message.response_metadata["model_name"] == str(release_folder)
    assert llm.asdict() == described


def test_a_model_that_does_not_exist_shows_at_the_first_call(tmp_path):
    llm = ChatDoctor(model=str(tmp_path / "none"))
    with pytest.raises(ModelNotFoundError):
        llm.invoke("Hello")


def test_import_and_construction_load_nothing_heavy():
    code = (
        "import sys; from chatdoctor_hub import ChatDoctor; llm = ChatDoctor(model='org/model');"
        "llm.asdict(); repr(llm); llm._get_ls_params();"
        "print([m for m in ('torch', 'transformers', 'peft') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# Streams


def test_closing_a_stream_stops_the_engine(llm, forwards):
    stream = llm.stream("Fever", max_tokens=200)
    next(stream)
    stream.close()
    count = len(forwards)
    assert count < 10
    llm.invoke("Fever", max_tokens=1)
    assert len(forwards) == count + 1


async def test_closing_an_async_stream_stops_the_engine(llm, forwards):
    stream = llm.astream("Fever", max_tokens=200)
    await anext(stream)
    await stream.aclose()
    count = len(forwards)
    assert count < 10
    await llm.ainvoke("Fever", max_tokens=1)
    assert len(forwards) == count + 1


def test_an_engines_error_reaches_the_caller():
    llm = ChatDoctor(engine=ScriptedEngine(lambda _: GenerationError("down")))
    for call in (llm.invoke, lambda words: list(llm.stream(words))):
        with pytest.raises(GenerationError, match="down"):
            call("Hello")


def test_streaming_lets_callbacks_see_the_tokens(script):
    seen = []

    class Tokens(BaseCallbackHandler):
        def on_llm_new_token(self, token, **_):
            seen.append(token)

    ChatDoctor(engine=script, streaming=True).invoke("Hello", config={"callbacks": [Tokens()]})
    assert "".join(seen) == "Rest well and drink tea."
    assert len(seen) == 6


async def test_events_and_v1_blocks(script):
    llm = ChatDoctor(engine=script, output_version="v1")
    assert llm.invoke("Hello").content == [{"type": "text", "text": "Rest well and drink tea."}]
    names = [event["event"] async for event in llm.astream_events("Hello", version="v2")]
    assert names[0] == "on_chat_model_start"
    assert names[-1] == "on_chat_model_end"
    assert names.count("on_chat_model_stream") >= 5
    stream = llm.stream_events("Hello", version="v3")
    assert stream.output.text == "Rest well and drink tea."


# Who answered


def test_cached_answers_belong_to_one_model_prompt_and_sampling(model_folder, tmp_path):
    cache = InMemoryCache()
    one, other = (ChatDoctor(engine=ScriptedEngine(text), cache=cache) for text in ("one", "two"))
    assert [llm.invoke("Hello").content for llm in (one, other, one)] == ["one", "two", "one"]
    assert len(one.engine.calls) == 1
    one.invoke("Hello", temperature=0.5)
    one.invoke("Hello", stop=["x"])
    assert len(one.engine.calls) == 3
    keys = {
        ChatDoctor(model=str(model_folder), **more)._get_llm_string()
        for more in (
            {},
            {"temperature": 0.1},
            {"max_tokens": 5},
            {"stop": ["x"]},
            {"seed": 1},
            {"dtype": "bfloat16"},
            {"safety": PromptPair("other@1", "Answer.", "Be safe.", "")},
            {"safety": PromptPair("other@1", "Answer.", "Be safer.", "")},
            {"safety": None},
            {"adapter": "other"},
            {"output_version": "v1"},
        )
    }
    assert len(keys) == 11


def test_the_key_of_a_cached_answer_is_the_same_before_and_after_loading(model_folder):
    llm = ChatDoctor(model=str(model_folder), max_tokens=2, device="cpu")
    before = llm._get_llm_string()
    llm.invoke("Hello")
    assert llm._get_llm_string() == before
    assert PAIR.serving_sha256 in before


def test_traces_name_provider_model_and_prompt(scripted):
    params = scripted._get_ls_params(stop=["x"], temperature=0.5)
    assert params == {
        "ls_provider": "chatdoctor",
        "ls_model_name": "scripted",
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 256,
        "ls_stop": ["x"],
        "ls_prompt": "chatdoctor@1",
        "ls_prompt_form": "serving",
        "ls_serving_sha256": PAIR.serving_sha256,
    }
    assert scripted._get_ls_params(model="other")["ls_model_name"] == "other"
    assert scripted._llm_type == "chatdoctor"
    described = scripted.asdict()
    assert (described["_type"], described["model"], described["prompt"]) == (
        "chatdoctor",
        "scripted",
        "chatdoctor@1",
    )
    assert described["serving_sha256"] == PAIR.serving_sha256


def test_tokens_are_counted_by_the_engine(llm, engine, scripted):
    messages = [SystemMessage("Be brief."), HumanMessage("Fever")]
    hub = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Fever"}]
    assert llm.get_num_tokens_from_messages(messages) == engine.count_tokens(hub)
    assert llm.get_num_tokens("Fever") == len(engine.encode("Fever"))
    own = ChatDoctor(engine=engine, custom_get_token_ids=lambda text: [1] * len(text))
    assert own.get_num_tokens("Fever") == 5
    assert scripted.get_num_tokens_from_messages(messages) == len(PAIR.serving_text.split()) + 3


def test_errors_are_of_one_family():
    assert issubclass(ConfigError, ChatDoctorError)
    assert issubclass(ConfigError, ValueError)


def test_one_stop_string_is_not_a_string_of_stops():
    engine = ScriptedEngine("First rest, then drink. END of it.")
    llm = ChatDoctor(engine=engine)
    answers = [llm.invoke("Hi", stop="END"), llm.bind(stop="END").invoke("Hi")]
    assert {answer.content for answer in answers} == {"First rest, then drink. "}
    assert {call.sampling.stop for call in engine.calls} == {("END",)}
