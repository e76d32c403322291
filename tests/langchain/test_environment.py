"""The server of the environment: for a model of which nothing was said, and its token for it alone."""

from __future__ import annotations

import pytest

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.inference import ScriptedEngine
from chatdoctor_hub.langchain import ChatDoctor

SERVER = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    monkeypatch.setenv("CHATDOCTOR_BASE_URL", SERVER)
    monkeypatch.setenv("CHATDOCTOR_API_KEY", "token of that server")


def test_nothing_said():
    llm = ChatDoctor(temperature=0.5)
    assert (llm.base_url, llm.api_key.get_secret_value()) == (SERVER, "token of that server")


def test_another_token_for_it():
    assert ChatDoctor(api_key="mine").api_key.get_secret_value() == "mine"


@pytest.mark.parametrize(
    "said",
    [{"model": "org/model"}, {"base_url": "http://127.0.0.1:10"}, {"engine": ScriptedEngine(["Rest."])}],
    ids=["model", "base_url", "engine"],
)
def test_something_said(said):
    llm = ChatDoctor(**said)
    assert llm.base_url == said.get("base_url")
    assert llm.api_key is None


def test_a_token_without_a_server(monkeypatch):
    monkeypatch.delenv("CHATDOCTOR_BASE_URL")
    with pytest.raises(ConfigError, match="found neither; give one of them, or set CHATDOCTOR_BASE_URL"):
        ChatDoctor()
