"""Answers of a given form: asked for in one of three ways, and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core.exceptions import OutputParserException
from langchain_core.output_parsers import JsonOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.json import parse_json_markdown
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ValidationError
from pydantic.v1 import ValidationError as ValidationErrorV1

from chatdoctor_hub.errors import ConfigError
from chatdoctor_hub.langchain.calls import CALL
from chatdoctor_hub.langchain.errors import AnswerRefusedError
from chatdoctor_hub.langchain.settings import check_known
from chatdoctor_hub.langchain.tools import to_schema, to_tools

if TYPE_CHECKING:
    # Type checkers look for it here, where a class with a field of that type is derived.
    from langchain_core.utils.pydantic import TBaseModel  # noqa: F401

__all__ = ["structured"]

_METHODS = ("json_schema", "function_calling", "json_mode")


def structured(
    llm: Any, schema: Any, method: str, include_raw: bool, strict: bool | None, settings: Mapping[str, Any]
) -> Runnable[Any, Any]:
    """A chat model with answers of a given form; see `ChatDoctor.with_structured_output`.

    Raises:
        ConfigError: for another method, a schema that is none, or an unknown setting.
    """
    _check_asked(schema, method, settings)
    shown = {
        "ls_structured_output_format": {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    }
    if schema is None:
        shown = {}
    if method == "function_calling":
        made = to_tools([schema], strict)
        name = made[0]["function"]["name"]
        bound = llm.bind_tools(made, tool_choice=name, **shown, **settings)
        parser: Any = _of_call(schema, name)
    else:
        form = {"type": "json_object"} if method == "json_mode" else _response_format(schema, strict)
        bound = llm.bind(response_format=form, **shown, **settings)
        parser = _of_text(schema)
    if not include_raw:
        made_of: Runnable[Any, Any] = bound | parser
        return made_of
    read = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    unread = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | read.with_fallbacks([unread], exception_key="parsing_error")


def _check_asked(schema: Any, method: str, settings: Mapping[str, Any]) -> None:
    if method not in _METHODS:
        raise ConfigError(
            f"Expected method to be one of {', '.join(_METHODS)}, found {method!r}; choose one."
        )
    taken = (
        "tool_choice",
        "response_format",
        "strict",
        *(("tools",) if method == "function_calling" else ()),
    )
    check_known("with_structured_output", settings, [name for name in CALL if name not in taken])
    if schema is None and method != "json_mode":
        raise ConfigError(
            f"Expected a schema for the method {method!r}, found none; give one, or use json_mode."
        )


def _response_format(schema: Any, strict: bool | None) -> dict[str, Any]:
    found = to_schema(schema)
    if found is None:
        raise ConfigError("Expected a schema, found a response format of type text; leave it out.")
    name, form = found
    marked = {} if strict is None else {"strict": strict}
    return {"type": "json_schema", "json_schema": {"name": name, "schema": form, **marked}}


class _Whole:
    """Reads only answers that are whole: LangChain's parsers complete what was cut off."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        if not partial:
            self._check(result[0])
        return super().parse_result(result, partial=partial)  # type: ignore[misc]  # of the parser beside it

    def _check(self, generation: Generation) -> None:
        if not isinstance(generation, ChatGeneration):
            return
        message = generation.message
        blocks = message.content if isinstance(message.content, list) else []
        kinds = [(block.get("value") or block).get("type") for block in blocks if isinstance(block, dict)]
        if "refusal" in kinds:
            raise AnswerRefusedError(
                "Expected an answer of the form asked for, found that the model declined; see the raw message."
            )
        if message.response_metadata.get("finish_reason") == "length":
            raise OutputParserException(
                "Expected a whole answer, found one that was cut off; raise max_tokens, or bound the texts of the "
                "form (max_length)."
            )


class _WholeCall(_Whole):
    """Reads only answers with a call."""

    def _check(self, generation: Generation) -> None:
        super()._check(generation)
        message = getattr(generation, "message", None)
        if not getattr(message, "tool_calls", None):
            broken = getattr(message, "invalid_tool_calls", None)
            found = "one that is no JSON" if broken else "none"
            raise OutputParserException(f"Expected a call with the answer, found {found}; ask again.")


class _Json(_Whole, JsonOutputParser):
    """Reads text as JSON, and what is no whole JSON not at all, whyever it ends where it does."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        if partial:
            return super().parse_result(result, partial=True)
        self._check(result[0])
        text = result[0].text
        try:
            return parse_json_markdown(text.strip(), parser=lambda found: json.loads(found, strict=False))
        except ValueError:
            # Not from that error, and without its words: they are the answer's.
            raise OutputParserException(
                "Expected an answer that is JSON, found other text or a part of it; ask again.",
                llm_output=text,
            ) from None


class _Object(_Json):
    """Reads answers as objects of a pydantic class, of either version; pieces that fit no object yet are left out."""

    kind: Any

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        found = super().parse_result(result, partial=partial)
        validate = getattr(self.kind, "model_validate", None) or self.kind.parse_obj
        try:
            return validate(found)
        except (ValidationError, ValidationErrorV1) as error:
            if partial:
                return None
            raise _other_form(self.kind, error) from None


def _other_form(kind: type, error: ValidationError | ValidationErrorV1) -> OutputParserException:
    """What to raise in the place of pydantic's error, which holds what was answered."""
    faults = ", ".join(".".join(map(str, fault["loc"])) or "the whole" for fault in error.errors())
    return OutputParserException(
        f"Expected an answer of the form {kind.__name__}, found one with faults in: {faults}; ask again."
    )


class _CallJson(_WholeCall, JsonOutputKeyToolsParser):
    pass


class _CallObject(_WholeCall, PydanticToolsParser):
    """Reads the arguments of a call as an object of a pydantic class."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        try:
            return super().parse_result(result, partial=partial)
        except (ValidationError, ValidationErrorV1) as error:
            raise _other_form(self.tools[0], error) from None


def _of_text(schema: Any) -> Any:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _Object(kind=schema)
    return _Json()


def _of_call(schema: Any, name: str) -> Any:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return _CallObject(tools=[schema], first_tool_only=True)
    return _CallJson(key_name=name, first_tool_only=True)
