"""What `ChatDoctor` claims to LangChain's own suite for chat models: everything that a model of text can do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from langchain_tests.integration_tests import ChatModelIntegrationTests
from langchain_tests.unit_tests.chat_models import ChatModelTests
from suite_answers import ADAPTER

from chatdoctor_hub.langchain import ChatDoctor

Suite = TypeVar("Suite", bound=type)

ALL = frozenset(name for name in dir(ChatModelIntegrationTests) if name.startswith("test_"))
"""The names of LangChain's tests."""

OTHER_INPUTS = frozenset(
    {
        "test_anthropic_inputs",
        "test_audio_inputs",
        "test_image_inputs",
        "test_image_tool_message",
        "test_pdf_inputs",
        "test_pdf_tool_message",
    }
)
"""Those of images, audio and PDF, and of messages in Anthropic's form, which no model of this library takes."""

STRUCTURED = frozenset(name for name in ALL if "structured_output" in name)
"""Those that structured output is asked for in the way that a suite chooses."""


class SomeTests(ChatModelTests):
    """A suite that has none of LangChain's tests but those it is given by `running`."""

    @property
    def standard_chat_model_params(self) -> dict[str, Any]:
        return {}


def running(names: Iterable[str]) -> Callable[[Suite], Suite]:
    """Gives a suite some of LangChain's tests, as they are."""

    def give(suite: Suite) -> Suite:
        for name in sorted(names):
            setattr(suite, name, getattr(ChatModelIntegrationTests, name))
        return suite

    return give


class Claims:
    """Of every engine; the tests themselves are LangChain's, and none is overridden."""

    @property
    def chat_model_class(self) -> type[ChatDoctor]:
        return ChatDoctor

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
    def enable_vcr_tests(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return ADAPTER


class ByFunctionCalling(Claims):
    """Structured output by the arguments of a call, in the place of a schema for the whole text."""

    @property
    def structured_output_kwargs(self) -> dict[str, str]:
        return {"method": "function_calling"}


class ByJsonMode(Claims):
    """Structured output as any JSON object, whose keys the model must know."""

    @property
    def structured_output_kwargs(self) -> dict[str, str]:
        return {"method": "json_mode"}
