"""LangChain's integration suite over a server that takes and gives what TGI does, with the real model behind it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_tests.integration_tests import ChatModelIntegrationTests
from standard_claims import STRUCTURED, ByFunctionCalling, ByJsonMode, Claims, SomeTests, running
from suite_answers import ADAPTER

from chatdoctor_hub.inference import LocalEngine
from tgi_stand_in import TgiStandIn


@pytest.fixture(scope="class", autouse=True)
def _server(request: pytest.FixtureRequest, engine: LocalEngine) -> Iterator[None]:
    with TgiStandIn(engine, adapters=(ADAPTER,)) as tgi:
        request.cls.url = tgi.url
        yield


class Served:
    url: str

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"base_url": self.url}


class TestTgi(Served, Claims, ChatModelIntegrationTests):
    """Structured output by TGI's grammar."""


@running(STRUCTURED)
class TestTgiByFunctionCalling(Served, ByFunctionCalling, SomeTests):
    """Structured output by a call."""


@running(STRUCTURED)
class TestTgiByJsonMode(Served, ByJsonMode, SomeTests):
    """Structured output as JSON."""
