"""`Answering`: for one chat template, the prompt of a request, the reader of its answer and its grammar."""

from __future__ import annotations

import hashlib
import json
import string
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from chatdoctor_hub.inference.grammar import Grammar, Grammars, Vocabulary, call_grammar, needed_in
from chatdoctor_hub.inference.tools.forms import OWN_FORM, ToolForm
from chatdoctor_hub.inference.tools.history import check_calls, has_calls
from chatdoctor_hub.inference.tools.reading import AnswerReader, Thinking
from chatdoctor_hub.inference.tools.rendering import ToolTemplate
from chatdoctor_hub.inference.tools.template_reading import TemplateReader
from chatdoctor_hub.inference.types import ChatRequest
from chatdoctor_hub.prompts.rendering import render

__all__ = ["Answering"]

_MOST_CALLS = 8
_PYTHON = "<|python_tag|>"
_NO_PARAMETERS = {"type": "object", "properties": {}}


class Answering:
    """What tools, thoughts and schemas mean under one chat template.

    Args:
        template: the chat template, without any prompt baked in.
        tokenizer: whose it is; not changed.
        grammars: for its tokens.
    """

    def __init__(self, template: str, tokenizer: Any, grammars: Grammars) -> None:
        self._template, self._tokenizer, self._grammars = template, tokenizer, grammars
        self._tool_template: ToolTemplate | None = None
        self._kept: dict[str, frozenset[int]] = {}
        self._lock = threading.Lock()
        marks = Thinking()
        self._thinks = marks.closes in template or marks.closes in tokenizer.get_added_vocab()
        self._responds = getattr(tokenizer, "response_template", None) is not None

    def prompt(self, request: ChatRequest, messages: Sequence[Mapping[str, Any]]) -> str:
        """The text that the model continues.

        Args:
            request: what is asked.
            messages: its messages with the prompt pair merged in.

        Raises:
            DataFormatError: for the result of a call that was never made.
            ModelFormatError: when the template refuses them.
        """
        check_calls(request.messages)
        tools = _offered(request)
        if tools or has_calls(messages):
            return self.tools.render(messages, tools)
        return render(messages, self._template, self._tokenizer, cue=True)

    def reader(self, request: ChatRequest, prompt: str) -> AnswerReader | TemplateReader | None:
        """What tells text, thoughts and calls apart; None where an answer is nothing but text."""
        tools, id_of = _offered(request), _ids(prompt)
        form = self.tools.form if tools else None
        forced_in_ours = form is OWN_FORM and request.tool_choice not in ("auto", "none")
        if self._responds and not forced_in_ours:
            return TemplateReader(self._tokenizer, prompt, tools, id_of)
        thinking = self._thinking(prompt)
        if form is None and thinking is None:
            return None
        names = [str(tool["function"]["name"]) for tool in tools]
        return AnswerReader(form, names, thinking=thinking, id_of=id_of)

    def grammar(self, request: ChatRequest) -> Grammar | None:
        """What the answer must be; None where it may be anything.

        Raises:
            ConfigError: for a schema that no grammar can express, naming the keyword.
            ModelFormatError: when the tokenizer does not tell what its tokens write.
            MissingExtraError: without llguidance.
        """
        tools = _offered(request)
        if not tools:
            schema = request.response_schema
            return None if schema is None else self._grammars.for_schema(schema)
        if request.tool_choice == "auto":
            return None
        form, one = self.tools.form, request.tool_choice != "required"
        if one:
            tools = [tool for tool in tools if tool["function"]["name"] == request.tool_choice]
        most = 1 if one or form.between is None else _MOST_CALLS
        names = ", ".join(repr(str(tool["function"]["name"])) for tool in tools)
        needed = needed_in(*(tool["function"].get("parameters") for tool in tools))
        return self._grammars.of(_calls(form, tools, most), f"the parameters of {names}", needed)

    @property
    def thought_end(self) -> tuple[int, ...]:
        """The tokens that end a thought."""
        return tuple(self._tokenizer(Thinking().closes, add_special_tokens=False)["input_ids"])

    def kept(self, reader: AnswerReader | TemplateReader | None) -> frozenset[int]:
        """The special tokens that the reader must see; the others leave no text."""
        if reader is None:
            return frozenset()
        text = self._marks(isinstance(reader, TemplateReader))
        if text not in self._kept:
            added = self._tokenizer.added_tokens_decoder.items()
            self._kept[text] = frozenset(
                number for number, token in added if token.content.strip() and token.content in text
            )
        return self._kept[text]

    def _marks(self, responds: bool) -> str:
        """All the marks that a reader looks for, as one text."""
        if responds:
            return json.dumps(self._tokenizer.response_template, ensure_ascii=False).replace("\\", "")
        marks = [Thinking().opens, Thinking().closes, _PYTHON]
        for form in (OWN_FORM, *((self._tool_template.form,) if self._tool_template else ())):
            marks += [form.before, form.between or "", form.middle, form.after]
        return "\0".join(marks)

    @property
    def tools(self) -> ToolTemplate:
        """How tools are rendered; found out on first use."""
        with self._lock:
            if self._tool_template is None:
                self._tool_template = ToolTemplate(self._template, self._tokenizer)
            return self._tool_template

    def _thinking(self, prompt: str) -> Thinking | None:
        marks = Thinking()
        if not self._thinks:
            return None
        return Thinking(begun=prompt.rstrip().endswith(marks.opens))


def _offered(request: ChatRequest) -> Sequence[Mapping[str, Any]]:
    """The tools that may be called; where none may be, the model is not told of any."""
    return () if request.tool_choice == "none" else request.tools


def _calls(form: ToolForm, tools: Sequence[Mapping[str, Any]], most: int) -> Callable[[Vocabulary], str]:
    calls = [
        (
            form.head + _spelt(str(tool["function"]["name"]), form) + form.middle,
            tool["function"].get("parameters") or _NO_PARAMETERS,
            form.tail,
        )
        for tool in tools
    ]
    around = (form.before, form.between or "", form.after)
    return lambda vocabulary: call_grammar(vocabulary, calls, around, most)


def _spelt(name: str, form: ToolForm) -> str:
    """A tool's name as it stands in a call."""
    return name if form.name_key is None else json.dumps(name, ensure_ascii=False)[1:-1]


def _ids(prompt: str) -> Callable[[int], str]:
    """Ids of calls: nine letters and digits (some templates take no others), the same for the same prompt.

    So an answer does not depend on what it was batched with, and the calls of one conversation differ.
    """
    signs = string.ascii_letters + string.digits

    def id_of(index: int) -> str:
        digest = hashlib.sha256(f"{index}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
        number = int.from_bytes(digest, "big")
        return "".join(signs[number // len(signs) ** place % len(signs)] for place in range(9))

    return id_of
