"""Adapters, quantization and revision of a `ChatDoctor` whose model is in this process."""

from __future__ import annotations

import json

import pytest

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import LocalEngine, ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor, chat_model

pytest.importorskip("torch")
pytest.importorskip("peft")


@pytest.fixture(scope="module")
def folders(tmp_path_factory, model_folder):
    import tiny_adapters

    place = tmp_path_factory.mktemp("adapters")
    return {kind: tiny_adapters.make_kind(kind, model_folder, place / kind) for kind in ("lora", "prefix")}


@pytest.fixture(scope="module")
def llm(model_folder, folders):
    return ChatDoctor(model=model_folder, adapters=folders, device="cpu", max_tokens=12)


def test_a_call_names_its_adapter(llm, folders):
    found = {}
    for kind in folders:
        alone = ChatDoctor(model=folders[kind], device="cpu", max_tokens=12)
        message = llm.invoke("Fever", model=kind)
        assert message.content == alone.invoke("Fever").content
        assert message.response_metadata["model_name"] == kind
        found[kind] = message.content
    assert llm.invoke("Fever").content not in found.values()
    assert llm.bind(model="lora").invoke("Fever").content == found["lora"]
    assert "".join(chunk.content for chunk in llm.stream("Fever", model="prefix")) == found["prefix"]
    batch = llm.batch(["Fever", "Fever"], model="lora")
    assert [message.content for message in batch] == [found["lora"]] * 2


async def test_tasks_with_different_adapters(llm):
    import asyncio

    names = [None, "lora", "prefix", ""] * 2
    alone = [llm.invoke("Fever", model=name).content for name in names]
    together = await asyncio.gather(*(llm.ainvoke("Fever", model=name) for name in names))
    assert [message.content for message in together] == alone


def test_a_model_may_have_an_adapter_of_its_own(llm, folders, model_folder):
    tuned = ChatDoctor(model=model_folder, adapters=folders, adapter="lora", device="cpu", max_tokens=12)
    assert tuned.invoke("Fever").content == llm.invoke("Fever", model="lora").content
    bare = tuned.invoke("Fever", model="")
    assert bare.content == llm.invoke("Fever").content
    streamed = list(tuned.stream("Fever", model=""))
    assert streamed[-1].response_metadata.get("model_name", "") in ("", bare.response_metadata["model_name"])


def test_a_name_that_does_not_exist(llm):
    with pytest.raises(ConfigError, match="did you mean 'lora'"):
        llm.invoke("Fever", model="lorra")


def test_copies_share_what_is_loaded(llm):
    llm.invoke("Fever")
    assert llm.model_copy(update={"adapter": "lora"})._engine() is llm._engine()


def test_the_key_of_cached_answers_knows_adapters_and_quantization(model_folder, folders):
    keys = {
        ChatDoctor(model=model_folder, **more)._get_llm_string()
        for more in (
            {},
            {"adapters": {"a": folders["lora"]}},
            {"adapters": {"b": folders["lora"]}},
            {"adapters": {"a": folders["prefix"]}},
            {"adapters": {"a": folders["lora"]}, "adapter": "a"},
            {"quantization": "4bit"},
            {"quantization": "8bit"},
        )
    }
    assert len(keys) == 7
    llm = ChatDoctor(model=model_folder, adapters=folders)
    keys = {llm._get_llm_string(), llm._get_llm_string(model="lora"), llm._get_llm_string(model="")}
    assert len(keys) == 3


def test_the_key_is_the_same_before_and_after_loading(model_folder, folders):
    llm = ChatDoctor(model=model_folder, adapters=folders, device="cpu", max_tokens=2)
    before = llm._get_llm_string()
    llm.invoke("Fever")
    assert llm._get_llm_string() == before


def test_traces_name_adapter_and_quantization(model_folder, folders):
    llm = ChatDoctor(model=model_folder, adapters=folders, adapter="lora", quantization="4bit")
    params = llm._get_ls_params()
    assert (params["ls_adapter"], params["ls_quantization"]) == ("lora", "4bit")
    named = llm._get_ls_params(model="prefix")
    assert named["ls_model_name"] == "prefix"
    assert "ls_adapter" not in named
    assert "ls_quantization" not in ChatDoctor(model=model_folder)._get_ls_params()


def test_settings_that_do_not_go_together(model_folder, folders):
    for there in ({"base_url": "http://localhost:1"}, {"model": "hf:org/name"}):
        for wrong in ({"adapters": folders}, {"quantization": "4bit"}):
            with pytest.raises(ConfigError, match="be left to the server"):
                ChatDoctor(**there, **wrong)
    with pytest.raises(ConfigError, match="engine's own"):
        ChatDoctor(engine=ScriptedEngine("Rest."), adapters=folders)
    with pytest.raises(ConfigError, match="quantization: Input should be '4bit' or '8bit'"):
        ChatDoctor(model=model_folder, quantization="3bit")
    for name, meant in (("load_in_4bit", "quantization"), ("lora", "adapters"), ("adaptors", "adapters")):
        with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
            ChatDoctor(model=model_folder, **{name: True})


def test_it_is_written_down_and_read_back(model_folder, folders):
    from langchain_core.load import dumpd, load

    llm = ChatDoctor(model=model_folder, adapters=folders, adapter="lora", quantization="8bit")
    written = json.loads(json.dumps(dumpd(llm)))
    assert written["kwargs"]["adapters"]["lora"] == str(folders["lora"])
    again = load(written, allowed_objects="all", valid_namespaces=["chatdoctor_hub"])
    assert (again.adapters, again.adapter, again.quantization) == (llm.adapters, "lora", "8bit")
    assert again._get_llm_string() == llm._get_llm_string()


def test_the_factory_takes_them_too(model_folder, folders):
    llm = chat_model(f"local:{model_folder}", adapters=folders, adapter="prefix", device="cpu", max_tokens=4)
    assert llm.invoke("Fever").response_metadata["model_name"] == "prefix"


def test_an_engine_with_adapters(model_folder, folders):
    engine = LocalEngine(model_folder, adapters=folders, device="cpu")
    llm = ChatDoctor(engine=engine, adapter="lora", max_tokens=4)
    assert llm.invoke("Fever").response_metadata["model_name"] == "lora"
