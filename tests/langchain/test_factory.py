"""A chat model from one string; what goes to a server, and how it is written down."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import ClassVar

import pytest
from langchain_core.load import dumpd, load
from langchain_core.runnables import ConfigurableField

from chatdoctor_hub import ChatDoctor, chat_model
from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ScriptedEngine


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("runs/quickstart/release", {"model": "runs/quickstart/release"}),
        ("org/name", {"model": "org/name"}),
        ("local:runs/release", {"model": "runs/release"}),
        ("local:C:\\models\\mine", {"model": "C:\\models\\mine"}),
        ("C:\\models\\mine", {"model": "C:\\models\\mine"}),
        ("./odd:name", {"model": "./odd:name"}),
        ("hf:org/name", {"model": "hf:org/name"}),
        ("tgi:http://localhost:8080", {"base_url": "http://localhost:8080", "dialect": "tgi"}),
        ("vllm:https://x.org/v1", {"base_url": "https://x.org/v1", "dialect": "vllm"}),
        ("http://localhost:8080", {"base_url": "http://localhost:8080", "dialect": None}),
    ],
)
def test_every_kind(name, want):
    llm = chat_model(name, temperature=0.5)
    assert isinstance(llm, ChatDoctor)
    assert {field: getattr(llm, field) for field in want} == want
    assert llm.temperature == 0.5


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("tgj:http://localhost", "did you mean 'tgi'"),
        ("gpt:4", "use one of local, hf, tgi"),
        ("tgi:", "after 'tgi:', found nothing"),
        ("local:", "found nothing"),
    ],
)
def test_no_kind(name, says):
    with pytest.raises(ConfigError, match=says):
        chat_model(name)


class Endpoint(ScriptedEngine):
    """Remembers how it was made."""

    made: ClassVar[list[dict]] = []

    def __init__(self, **given):
        self.made.append(given)
        super().__init__("Rest.")


@pytest.fixture
def endpoint(monkeypatch):
    monkeypatch.setattr("chatdoctor_hub.inference.endpoint.EndpointEngine", Endpoint)
    monkeypatch.setattr(Endpoint, "made", [])
    return Endpoint


def test_all_that_a_server_needs_reaches_the_engine_once(endpoint):
    llm = ChatDoctor(
        model="served",
        base_url="http://127.0.0.1:9",
        api_key="secret",
        timeout=5,
        chunk_timeout=7,
        max_retries=1,
        dialect="vllm",
        safety="chatdoctor@1",
    )
    assert endpoint.made == []
    assert [llm.invoke("Hi").content for _ in range(3)] == ["Rest."] * 3
    assert endpoint.made == [
        {
            "model": "served",
            "base_url": "http://127.0.0.1:9",
            "api_key": "secret",
            "timeout": 5.0,
            "chunk_timeout": 7.0,
            "max_retries": 1,
            "dialect": "vllm",
            "prompt": "chatdoctor@1",
        }
    ]
    hosted = ChatDoctor(model="hf:org/name", provider="x")
    hosted.invoke("Hi")
    assert endpoint.made[1:] == [{"model": "org/name", "provider": "x"}]


def test_copies_share_the_engine(endpoint):
    llm = ChatDoctor(base_url="http://127.0.0.1:9")
    cut = llm.configurable_fields(max_tokens=ConfigurableField(id="max_tokens"))
    assert cut.with_config(configurable={"max_tokens": 1}).invoke("Hi").content == "Rest."
    llm.invoke("Hi")
    assert len(endpoint.made) == 1


def test_keys_are_shown_nowhere():
    llm = ChatDoctor(model="org/name", base_url="http://127.0.0.1:9", api_key="s3cret")
    shown = [repr(llm), str(llm.asdict()), json.dumps(dumpd(llm)), llm._get_llm_string(), repr(llm._choice)]
    shown += [str(llm._get_ls_params()), str(llm._identifying_params), llm.model_dump_json()]
    assert not [text for text in shown if "s3cret" in text]
    with pytest.raises(ConfigError) as caught:
        ChatDoctor(model="x", api_key=["s3cret"])
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_key_is_read_back_from_its_own_variable_only(monkeypatch):
    """HF_TOKEN must not go to whatever address a file names."""
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    written = dumpd(ChatDoctor(base_url="http://127.0.0.1:9", api_key="s3cret", temperature=0.5))
    known = {"allowed_objects": "all", "valid_namespaces": ["chatdoctor_hub"], "secrets_from_env": True}
    assert load(written, **known).api_key is None
    monkeypatch.setenv("CHATDOCTOR_API_KEY", "mine")
    back = load(written, **known)
    assert (back.api_key.get_secret_value(), back.temperature) == ("mine", 0.5)


def test_it_can_be_read_back_by_a_process_that_only_imported_it():
    written = json.dumps(dumpd(ChatDoctor(model="org/name", stop=["x"], seed=3)))
    code = (
        "import sys, json; from langchain_core.load import load; from chatdoctor_hub import ChatDoctor;"
        "back = load(json.loads(sys.argv[1]), allowed_objects='all', valid_namespaces=['chatdoctor_hub']);"
        "print(back.model, back.stop, back.seed)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, written], capture_output=True, text=True
    )
    assert done.stdout.strip() == "org/name ['x'] 3", done.stderr


def test_the_profile():
    llm = ChatDoctor(engine=ScriptedEngine("x", context_length=500))
    assert llm.profile["max_input_tokens"] == 500
    assert llm.profile["structured_output"] is True
    assert "max_input_tokens" not in ChatDoctor(engine=ScriptedEngine("x")).profile
    assert "max_input_tokens" not in ChatDoctor(model="none/none").profile
    assert ChatDoctor(model="org/name", profile={"max_input_tokens": 7}).profile == {"max_input_tokens": 7}
    with pytest.raises(AttributeError):
        _ = llm.profil


def test_the_profile_of_a_model_that_is_not_loaded(model_folder, release_folder):
    want = json.loads((model_folder / "config.json").read_text())["max_position_embeddings"]
    for folder in (model_folder, release_folder):
        llm = ChatDoctor(model=folder, device="cpu")
        assert llm.profile["max_input_tokens"] == want
        assert not llm.loader._engines
    llm.invoke("Hi", max_tokens=1)
    assert llm.profile["max_input_tokens"] == want


def test_the_profile_of_a_server_that_is_not_there():
    assert "max_input_tokens" not in ChatDoctor(base_url="http://127.0.0.1:9", max_retries=0).profile
