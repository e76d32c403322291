"""LangChain's integration suite over the public fake, which is told what to answer."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_tests.integration_tests import ChatModelIntegrationTests
from standard_claims import STRUCTURED, ByFunctionCalling, ByJsonMode, Claims, SomeTests, running
from suite_answers import ADAPTER, answer

from chatdoctor_hub.inference import ChatReply, ChatRequest, ScriptedEngine


class Recording(ScriptedEngine):
    """Keeps the requests as they came, without the prompt pair; `train_memoriser.py` takes them from here."""

    def generate(self, request: ChatRequest) -> ChatReply:
        ASKED.append(request)
        return super().generate(request)


ASKED: list[ChatRequest] = []
ENGINE = Recording(answer, adapters=[ADAPTER])


class Scripted:
    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": ENGINE}


class TestScripted(Scripted, Claims, ChatModelIntegrationTests):
    """Structured output by a schema for the text."""


@running(STRUCTURED)
class TestScriptedByFunctionCalling(Scripted, ByFunctionCalling, SomeTests):
    """Structured output by a call."""


@running(STRUCTURED)
class TestScriptedByJsonMode(Scripted, ByJsonMode, SomeTests):
    """Structured output as JSON."""
