"""LangChain's own suite for chat models, with everything that this one claims."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("langchain_tests", reason="install langchain-tests to run LangChain's own suite")

from langchain_tests.unit_tests import ChatModelUnitTests

from chatdoctor_hub.langchain import ChatDoctor


class TestChatDoctorStandard(ChatModelUnitTests):
    """A model in this process."""

    @property
    def chat_model_class(self) -> type[ChatDoctor]:
        return ChatDoctor

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "org/model"}

    @property
    def has_tool_calling(self) -> bool:
        return True

    @property
    def has_tool_choice(self) -> bool:
        return True

    @property
    def has_structured_output(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def returns_usage_metadata(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "adapter"


class TestChatDoctorOfAServerStandard(TestChatDoctorStandard):
    """A model that a server runs."""

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"model": "org/model", "base_url": "http://127.0.0.1:9"}
