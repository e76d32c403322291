"""`ToolTemplate`: a conversation with tools as text, by the model's template or by our own form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.inference.tools.forms import OWN_FORM, ToolForm, learn_form
from chatdoctor_hub.prompts.control_tokens import neutralise
from chatdoctor_hub.prompts.messages import fold_system
from chatdoctor_hub.prompts.rendering import takes_system_role

__all__ = ["ToolTemplate"]

_PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": "probe_tool",
        "description": "A probe.",
        "parameters": {
            "type": "object",
            "properties": {"probe_key": {"type": "string", "description": "A probe."}},
            "required": ["probe_key"],
        },
    },
}
_PROBE_CALL = {
    "id": "probe0000",
    "type": "function",
    "function": {"name": "probe_tool", "arguments": {"probe_key": "probe_value"}},
}
_ASKED = {"role": "user", "content": "probe question"}
_CALLED = {"role": "assistant", "content": "", "tool_calls": [_PROBE_CALL]}
_RESULT = {"role": "tool", "tool_call_id": "probe0000", "name": "probe_tool", "content": "probe result"}

_INTRODUCTION = """\
You can call these tools, one JSON object a line:
{tools}
To call a tool, write only this, once for each call, with its arguments as a JSON object:
{call}
Results come back between <tool_response> and </tool_response>. Do not call a tool when you can answer \
without it."""


class ToolTemplate:
    """Renders conversations in which tools may be called.

    What the template can do is found out by trying: whether the tools' names, an assistant's calls and a
    tool's result appear in what it makes of them. What it cannot do is written in `OWN_FORM`: the tools as
    JSON after the system words (so after the safety prompt), calls as the assistant's words, results as
    the user's, between `<tool_response>` and `</tool_response>`.

    Args:
        template: the chat template, without any prompt baked in.
        tokenizer: whose it is; not changed.
    """

    def __init__(self, template: str, tokenizer: Any) -> None:
        self._template = template
        self._tokenizer = tokenizer
        self._takes_system = takes_system_role(template, tokenizer)
        self.takes_tools = self._shows("probe_tool", [_ASKED], [_PROBE_TOOL])
        learned, self._arguments_as_text = self._learn()
        self.form = learned or OWN_FORM
        self.takes_calls = learned is not None
        self.takes_results = self.takes_calls and self._shows("probe result", [_ASKED, _CALLED, _RESULT])

    def render(self, messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> str:
        """The text that a model is to continue.

        Control tokens in contents, calls and tools are broken, as in conversations without tools.

        Args:
            messages: the conversation with the prompt pair merged in.
            tools: what may be called now; may be none, where calls have been made before.

        Raises:
            ModelFormatError: when the template refuses them.
        """
        listed = self._without_controls([_with_arguments(message) for message in messages])
        offered = (
            self._without_controls([{"role": "tools", "tools": list(tools)}])[0]["tools"] if tools else []
        )
        if offered and not self.takes_tools:
            listed = _introduced(listed, offered, self.form)
            offered = []
        if not self.takes_results:
            listed = _in_words(listed, self.form, calls=not self.takes_calls)
        elif self._arguments_as_text:
            listed = [_with_arguments(message, as_text=True) for message in listed]
        if listed and listed[0]["role"] == "system" and not self._takes_system:
            listed = fold_system(listed)
        try:
            return self._apply(listed, cue=True, tools=offered)
        except Exception as error:  # templates raise errors of any kind
            raise ModelFormatError(
                "Expected a chat template that takes these messages and tools, found one that refuses them "
                f"({type(error).__name__}); check the order of calls and results, or use another model."
            ) from error

    def _without_controls(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        return neutralise(messages, self._template, self._tokenizer)

    def _apply(self, messages: Sequence[Mapping[str, Any]], *, cue: bool, tools: Sequence[Any] = ()) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tools=[dict(tool) for tool in tools] or None,
                chat_template=self._template,
                add_generation_prompt=cue,
                tokenize=False,
            )
        )

    def _shows(self, words: str, messages: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> bool:
        try:
            return words in self._apply(messages, cue=False, tools=tools)
        except Exception:  # noqa: BLE001 - templates refuse with errors of any kind
            return False

    def _learn(self) -> tuple[ToolForm | None, bool]:
        """The template's form, and whether it wants arguments as text: some do, most want an object."""
        for as_text in (False, True):
            try:
                form = learn_form(
                    lambda messages, cue, as_text=as_text: self._apply(  # type: ignore[misc]
                        [_with_arguments(message, as_text=as_text) for message in messages], cue=cue
                    ),
                    self._tokenizer.all_special_tokens,
                )
            except Exception:  # noqa: BLE001 - templates refuse with errors of any kind
                continue
            if form is not None:
                return form, as_text
        return None, False


def _with_arguments(message: Mapping[str, Any], *, as_text: bool = False) -> dict[str, Any]:
    """A message with the arguments of its calls as objects, which is what most templates expect, or as text."""
    if not message.get("tool_calls"):
        return {key: value for key, value in message.items() if key != "tool_calls"}
    return {**message, "tool_calls": [_with_kind(call, as_text) for call in message["tool_calls"]]}


def _with_kind(call: Mapping[str, Any], as_text: bool) -> dict[str, Any]:
    function = dict(call.get("function") or {})
    arguments = function.get("arguments")
    if isinstance(arguments, str) and not as_text:
        try:
            read = json.loads(arguments) if arguments.strip() else {}
        except ValueError:
            read = arguments
        function["arguments"] = read if isinstance(read, dict) else arguments
    elif as_text and not isinstance(arguments, str):
        function["arguments"] = json.dumps(arguments, ensure_ascii=False)
    return {"type": "function", **call, "function": function}


def _introduced(
    messages: list[dict[str, Any]], tools: Sequence[Mapping[str, Any]], form: ToolForm
) -> list[dict[str, Any]]:
    """The messages with the tools written after the system words."""
    words = _INTRODUCTION.format(
        tools="\n".join(json.dumps(tool["function"], ensure_ascii=False) for tool in tools),
        call=form.write([("NAME", {"PARAMETER": "VALUE"})]),
    )
    if messages and messages[0]["role"] in ("system", "developer"):
        first = messages[0]
        return [{**first, "content": f"{first['content']}\n\n{words}"}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]


def _in_words(messages: list[dict[str, Any]], form: ToolForm, *, calls: bool) -> list[dict[str, Any]]:
    """The messages with results, and if need be calls, as words; neighbouring results share a turn."""
    told: list[dict[str, Any]] = []
    results = False
    for message in messages:
        if message["role"] == "tool":
            text = f"<tool_response>\n{_unmarked(message['content'])}\n</tool_response>"
            if results:
                told[-1]["content"] += f"\n{text}"
            else:
                told.append({"role": "user", "content": text})
        elif calls and message.get("tool_calls"):
            made = [
                (call["function"]["name"], call["function"]["arguments"]) for call in message["tool_calls"]
            ]
            text = "\n".join(part for part in (message["content"], form.write(made)) if part)
            told.append({"role": "assistant", "content": text})
        elif message["role"] == "user" and isinstance(message["content"], str):
            told.append({**message, "content": _unmarked(message["content"])})
        else:
            told.append(message)
        results = message["role"] == "tool"
    return told


def _unmarked(text: str) -> str:
    """What people or tools say cannot pass for the frame of a result."""
    return text.replace("<tool_", "< tool_").replace("</tool_", "< /tool_")
