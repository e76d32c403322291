"""LangChain's unit suite, with everything that this chat model claims."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_tests.unit_tests import ChatModelUnitTests
from standard_claims import Claims

SERVER = "http://127.0.0.1:9"


class TestChatDoctorStandard(Claims, ChatModelUnitTests):
    """A model in this process."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "org/model"}

    @property
    def init_from_env_params(self) -> tuple[dict[str, str], dict[str, Any], dict[str, Any]]:
        environment = {"CHATDOCTOR_BASE_URL": SERVER, "CHATDOCTOR_API_KEY": "test"}
        return environment, {}, {"base_url": SERVER, "api_key": "test"}


class TestChatDoctorOfAServerStandard(TestChatDoctorStandard):
    """A model that a server runs."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "org/model", "base_url": SERVER}
