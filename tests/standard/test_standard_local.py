"""LangChain's integration suite over a real model in this process: every test, by each way to structured output."""

from __future__ import annotations

from typing import Any

import memoriser
import pytest

pytest.importorskip("torch", reason="install chatdoctor-hub[local] to run the model")
pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_tests.integration_tests import ChatModelIntegrationTests
from standard_claims import STRUCTURED, ByFunctionCalling, ByJsonMode, Claims, SomeTests, running
from suite_answers import ADAPTER

from chatdoctor_hub.inference import LocalEngine


@pytest.fixture(scope="class")
def _chosen(request: pytest.FixtureRequest) -> None:
    request.cls.engine = request.getfixturevalue(request.cls.uses)


@pytest.mark.usefixtures("_chosen")
class Local:
    uses = "engine"
    engine: LocalEngine

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"engine": self.engine}


class Plain(Local):
    uses = "plain_engine"


class TestLocal(Claims, ChatModelIntegrationTests):
    """Tools by the model's own template; each test loads the model itself."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": str(memoriser.FOLDER), "adapters": {ADAPTER: str(memoriser.BRIEF)}}


@running(STRUCTURED)
class TestLocalByFunctionCalling(Local, ByFunctionCalling, SomeTests):
    """Structured output by a call."""


@running(STRUCTURED)
class TestLocalByJsonMode(Local, ByJsonMode, SomeTests):
    """Structured output as JSON."""


class TestLocalPlain(Plain, Claims, ChatModelIntegrationTests):
    """Tools in the library's own form."""


@running(STRUCTURED)
class TestLocalPlainByFunctionCalling(Plain, ByFunctionCalling, SomeTests):
    """Structured output by a call in that form."""
