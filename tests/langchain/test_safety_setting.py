"""Which safety prompt is applied, on every path, and how answers without one are marked."""

from __future__ import annotations

import json
import warnings

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.load import dumpd, load
from langchain_core.messages import HumanMessage

from chatdoctor_hub.errors import ConfigError, PromptDigestError, UnknownPromptError
from chatdoctor_hub.inference import ScriptedEngine, ToolCall
from chatdoctor_hub.langchain import ChatDoctor, safety
from chatdoctor_hub.prompts import PromptPair

PAIR = PromptPair.load("chatdoctor@1")
OWN = PromptPair("mine@1", "Answer.", "Be safe and kind.", "")


@pytest.fixture
def unwarned(monkeypatch):
    monkeypatch.setattr(safety, "_warned", set())


def without(engine, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ChatDoctor(engine=engine, safety=None, **settings)


@pytest.mark.parametrize(
    "way", ["invoke", "stream", "batch", "ainvoke", "astream", "abatch", "tools", "structured"]
)
async def test_no_safety_prompt_on_any_path(way):
    engine = ScriptedEngine(ToolCall("f", {}, "1") if way == "tools" else '{"a": 1}')
    llm = without(engine)
    if way == "tools":
        tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
        messages = [llm.bind_tools([tool]).invoke("Hi")]
    elif way == "structured":
        schema = {"title": "T", "type": "object", "properties": {}}
        messages = [llm.with_structured_output(schema, include_raw=True).invoke("Hi")["raw"]]
    elif way in ("stream", "astream"):
        chunks = list(llm.stream("Hi")) if way == "stream" else [chunk async for chunk in llm.astream("Hi")]
        messages = chunks[-1:]
    elif way in ("batch", "abatch"):
        messages = llm.batch(["Hi"]) if way == "batch" else await llm.abatch(["Hi"])
    else:
        messages = [llm.invoke("Hi") if way == "invoke" else await llm.ainvoke("Hi")]
    assert {call.form for call in engine.calls} == {"training"}
    assert all(PAIR.safety not in str(call.messages) for call in engine.calls)
    for message in messages:
        assert message.response_metadata["serving_sha256"] is None
        assert message.response_metadata["prompt_form"] == "training"


def test_it_warns_once(unwarned):
    engine = ScriptedEngine("x")
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        ChatDoctor(engine=engine, safety=None)
        ChatDoctor(engine=engine, safety=None)
    assert len(seen) == 1
    assert "without a safety prompt" in str(seen[0].message)
    assert seen[0].filename == __file__


def test_marks_in_traces_tokens_and_the_cache():
    engine, cache = ScriptedEngine(lambda request: request.form), InMemoryCache()
    safe, bare = ChatDoctor(engine=engine, cache=cache), without(engine, cache=cache)
    assert [llm.invoke("Hi").content for llm in (safe, bare, safe, bare)] == ["serving", "training"] * 2
    assert len(engine.calls) == 2
    assert safe._get_ls_params()["ls_serving_sha256"] == PAIR.serving_sha256
    assert bare._get_ls_params()["ls_serving_sha256"] is None
    assert bare._get_ls_params()["ls_prompt_form"] == "training"
    counted = [llm.get_num_tokens_from_messages([HumanMessage("Hi")]) for llm in (safe, bare)]
    assert counted[0] > counted[1]
    assert counted == [llm.invoke("Ho").usage_metadata["input_tokens"] for llm in (safe, bare)]


def test_another_prompt(release_folder):
    for given in (OWN, OWN.to_record()):
        llm = ChatDoctor(model=release_folder, safety=given, max_tokens=2, device="cpu")
        assert llm.invoke("Hi").response_metadata["serving_sha256"] == OWN.serving_sha256
    own = ChatDoctor(model=release_folder, max_tokens=2, device="cpu")
    assert own.invoke("Hi").response_metadata["serving_sha256"] == PAIR.serving_sha256
    bare = without(None, model=release_folder, max_tokens=2, device="cpu")
    counted = [llm.invoke("Hi").usage_metadata["input_tokens"] for llm in (own, bare)]
    assert counted[0] > counted[1]


def test_what_is_no_prompt(tmp_path):
    with pytest.raises(ConfigError, match="found int"):
        ChatDoctor(model="x", safety=3)
    with pytest.raises(PromptDigestError):
        ChatDoctor(model="x", safety={**OWN.to_record(), "safety": "Do as you are told."})
    with pytest.raises(ConfigError, match="safety to be the engine's own"):
        ChatDoctor(engine=ScriptedEngine("x"), safety=OWN)


def test_a_prompt_that_does_not_exist_shows_at_the_first_call(model_folder):
    with pytest.raises(UnknownPromptError):
        ChatDoctor(model=model_folder, safety="chatdoktor@1").invoke("Hi")


@pytest.mark.parametrize("given", [OWN, "mine@2", None, "own"])
def test_it_is_written_down_and_read_back(given):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        llm = ChatDoctor(model="org/model", safety=given)
        written = json.loads(json.dumps(dumpd(llm)))
        back = load(written, allowed_objects="all", valid_namespaces=["chatdoctor_hub"])
    assert back.safety == given
    assert back.asdict() == llm.asdict()
