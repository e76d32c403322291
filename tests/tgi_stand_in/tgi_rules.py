"""What TGI 3.3 takes and refuses, by its published schema (`docs/openapi.json`) and the texts of its errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_STOPS = 4
MAX_TOP_TOKENS = 5

_U32, _U64, _NUMBER, _BOOL, _TEXT = "u32", "u64", "a float", "a boolean", "a string"
_CHAT = {
    "model": _TEXT,
    "frequency_penalty": _NUMBER,
    "presence_penalty": _NUMBER,
    "logprobs": _BOOL,
    "top_logprobs": _U32,
    "max_tokens": _U32,
    "n": _U32,
    "seed": _U64,
    "stream": _BOOL,
    "temperature": _NUMBER,
    "top_p": _NUMBER,
    "tool_prompt": _TEXT,
    "guideline": _TEXT,
}
_PARAMETERS = {
    "adapter_id": _TEXT,
    "best_of": _U32,
    "decoder_input_details": _BOOL,
    "details": _BOOL,
    "do_sample": _BOOL,
    "frequency_penalty": _NUMBER,
    "max_new_tokens": _U32,
    "repetition_penalty": _NUMBER,
    "return_full_text": _BOOL,
    "seed": _U64,
    "temperature": _NUMBER,
    "top_k": _U32,
    "top_n_tokens": _U32,
    "top_p": _NUMBER,
    "truncate": _U32,
    "typical_p": _NUMBER,
    "watermark": _BOOL,
}


class Refused(Exception):  # noqa: N818  it is no error of the stand-in's
    """An answer of another status than 200."""

    def __init__(self, status: int, error: str, error_type: str | None) -> None:
        super().__init__(error)
        self.status, self.error, self.error_type = status, error, error_type


def misfit(where: str, found: Any, expected: str) -> Refused:
    """The body is not of the form that the types of the router have; axum says so in plain text."""
    return Refused(
        422,
        f"Failed to deserialize the JSON body into the target type: {where}: invalid type: {type(found).__name__}, "
        f"expected {expected}",
        None,
    )


def invalid(said: str) -> Refused:
    return Refused(422, f"Input validation error: {said}", "validation")


def _check_types(body: Mapping[str, Any], types: Mapping[str, str]) -> None:
    for name, expected in types.items():
        value = body.get(name)
        if value is None:
            continue
        whole = isinstance(value, int) and not isinstance(value, bool)
        good = {
            _U32: whole and 0 <= value < 2**32,
            _U64: whole and 0 <= value < 2**64,
            _NUMBER: whole or isinstance(value, float),
            _BOOL: isinstance(value, bool),
            _TEXT: isinstance(value, str),
        }[expected]
        if not good:
            raise misfit(name, value, expected)


def _check_strings(where: str, value: Any) -> None:
    if value is not None and (
        not isinstance(value, list) or any(not isinstance(item, str) for item in value)
    ):
        raise misfit(where, value, "a sequence of strings")


def read_message(message: Any, where: str) -> dict[str, Any]:
    """A message as the router understands it: its content, or its calls, never both."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise misfit(where, message, "a message with a role")
    content = message.get("content")
    if isinstance(content, list):
        for part in content:
            if not isinstance(part, dict) or part.get("type") not in ("text", "image_url"):
                raise misfit(f"{where}.content", part, "a chunk of text or an image")
        content = "".join(part.get("text", "") for part in content)
    if isinstance(content, str):
        return {name: message[name] for name in ("role", "name", "tool_call_id") if name in message} | {
            "content": content
        }
    calls = message.get("tool_calls")
    if not isinstance(calls, list):
        raise misfit(where, message, "data matching any variant of untagged enum MessageBody")
    for number, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if (
            not isinstance(function, dict)
            or not isinstance(call.get("id"), str)
            or not isinstance(call.get("type"), str)
            or not isinstance(function.get("name"), str)
            or not ({"arguments", "parameters"} & function.keys())
        ):
            raise misfit(f"{where}.tool_calls[{number}]", call, "struct ToolCall")
    return {"role": message["role"], "content": None, "tool_calls": calls}


def _check_tools(body: Mapping[str, Any]) -> None:
    tools = body.get("tools")
    if tools is not None and not isinstance(tools, list):
        raise misfit("tools", tools, "a sequence")
    for number, tool in enumerate(tools or ()):
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(tool.get("type"), str):
            raise misfit(f"tools[{number}]", tool, "struct Tool")
        if not isinstance(function.get("name"), str):
            raise misfit(f"tools[{number}].function", function, "missing field `name`")
        if not ({"arguments", "parameters"} & function.keys()):
            raise misfit(f"tools[{number}].function", function, "missing field `arguments`")


def read_choice(choice: Any, names: list[str]) -> str:
    """auto, none, required, or a name; a string that is none of these is taken for a name."""
    if choice is None:
        choice = "auto"
    if isinstance(choice, dict):
        function = choice.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise misfit(
                "tool_choice", choice, "data matching any variant of untagged enum ToolTypeDeserializer"
            )
        choice = function["name"]
    if not isinstance(choice, str):
        raise misfit("tool_choice", choice, "a string")
    if names and choice not in ("auto", "none", "required", *names):
        raise Refused(422, f"Tool error: Tool with name {choice} not found", "tool_error")
    return choice


def read_grammar(grammar: Any, where: str) -> dict[str, Any] | None:
    """The schema; without `value` it is refused."""
    if grammar is None:
        return None
    if not isinstance(grammar, dict) or grammar.get("type") not in (
        "json",
        "json_object",
        "json_schema",
        "regex",
    ):
        raise misfit(where, grammar, "adjacently tagged enum GrammarType")
    if "value" not in grammar:
        raise misfit(where, grammar, "missing field `value`")
    value = grammar["value"]
    if grammar["type"] == "json_schema":
        value = value.get("schema")
    if not isinstance(value, dict):
        raise misfit(where, value, "a schema")
    return value


def check_chat(body: Any) -> None:
    """Whether the body of a request to /v1/chat/completions is one."""
    if not isinstance(body, dict):
        raise misfit("body", body, "struct ChatRequest")
    if not isinstance(body.get("messages"), list):
        raise misfit("messages", body.get("messages"), "missing field `messages`")
    _check_types(body, _CHAT)
    _check_strings("stop", body.get("stop"))
    options = body.get("stream_options")
    if options is not None and not isinstance(options.get("include_usage"), bool):
        raise misfit("stream_options", options, "missing field `include_usage`")
    _check_tools(body)
    read_choice(body.get("tool_choice"), [tool["function"]["name"] for tool in body.get("tools") or ()])
    read_grammar(body.get("response_format"), "response_format")
    if body.get("tools") and body.get("response_format"):
        raise Refused(422, "Tool error: Grammar and tools are mutually exclusive", "tool_error")
    presence = body.get("presence_penalty")
    check_values(
        {
            **body,
            "max_new_tokens": body.get("max_tokens"),
            "temperature": None if body.get("temperature") == 0 else body.get("temperature"),
            "top_n_tokens": body.get("top_logprobs"),
            # As the router hands it on.
            "repetition_penalty": None if presence is None else presence + 2.0,
        }
    )


def check_generate(body: Any) -> None:
    """Whether the body of a request to /generate is one."""
    if not isinstance(body, dict) or not isinstance(body.get("inputs"), str):
        raise misfit("inputs", body, "missing field `inputs`")
    parameters = body.get("parameters") or {}
    _check_types(parameters, _PARAMETERS)
    _check_strings("stop", parameters.get("stop"))
    read_grammar(parameters.get("grammar"), "grammar")
    check_values(parameters)


def check_values(values: Mapping[str, Any]) -> None:
    """Whether the settings are in range."""
    rules = (
        ("temperature", lambda v: v > 0, "`temperature` must be strictly positive"),
        ("repetition_penalty", lambda v: v > 0, "`repetition_penalty` must be strictly positive"),
        ("frequency_penalty", lambda v: -2 <= v <= 2, "`frequency_penalty` must be >= -2.0 and <= 2.0"),
        ("top_p", lambda v: 0 < v < 1, "`top_p` must be > 0.0 and < 1.0"),
        ("top_k", lambda v: v > 0, "`top_k` must be strictly positive"),
        ("max_new_tokens", lambda v: v > 0, "`max_new_tokens` must be strictly positive"),
        (
            "top_n_tokens",
            lambda v: v <= MAX_TOP_TOKENS,
            f"`top_n_tokens` must be >= 0 and <= {MAX_TOP_TOKENS}. Given: {values.get('top_n_tokens')}",
        ),
        (
            "stop",
            lambda v: len(v) <= MAX_STOPS,
            f"`stop` supports up to {MAX_STOPS} stop sequences. Given: {len(values.get('stop') or ())}",
        ),
    )
    for name, good, said in rules:
        if values.get(name) is not None and not good(values[name]):
            raise invalid(said)
