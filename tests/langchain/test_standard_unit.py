"""LangChain's own suite for chat models, for what this one claims: text, no tools, no schemas."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_tests.unit_tests import ChatModelUnitTests

from chatdoctor_hub.langchain import ChatDoctor


class TestChatDoctorStandard(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[ChatDoctor]:
        return ChatDoctor

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "org/model"}

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        # A model in this process has no time-out, retries or key; the class refuses them.
        return {"temperature": 0, "max_tokens": 100, "stop": []}

    @property
    def has_tool_calling(self) -> bool:
        return False

    @property
    def has_structured_output(self) -> bool:
        return False
