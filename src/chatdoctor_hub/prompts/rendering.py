"""Turning Hub messages into text by a chat template, and finding the doctor's words in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts.messages import fold_system

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Form", "Span", "render", "render_with_spans", "takes_system_role", "template_of"]

Form = Literal["serving", "training"]
Span = tuple[int, int]
Apply = Callable[[list[dict[str, Any]], bool], str]

_PROBE = [
    {"role": "system", "content": "chatdoctor-system-probe"},
    {"role": "user", "content": "chatdoctor-user-probe"},
]
_SYSTEM_ROLE: dict[str, bool] = {}


@lru_cache(maxsize=64)
def _compiled(template: str) -> Any:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise ModelFormatError(f"The chat template refused the messages ({message}); change the messages.")

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.globals["raise_exception"] = raise_exception
    return environment.from_string(template)


def template_of(tokenizer: PreTrainedTokenizerBase | None, layout: str, form: Form) -> str:
    """The chat template to use: the tokenizer's (for training, the one named so, if any), else `layout`."""
    own = getattr(tokenizer, "chat_template", None)
    if isinstance(own, Mapping):
        own = own.get("training" if form == "training" and "training" in own else "default")
    return own if own else layout


def _applier(template: str, tokenizer: PreTrainedTokenizerBase | None) -> Apply:
    def apply(messages: list[dict[str, Any]], cue: bool) -> str:
        if tokenizer is None:
            compiled = _compiled(template)
            text = compiled.render(
                messages=messages, add_generation_prompt=cue, bos_token="", eos_token="", tools=None
            )
        else:
            text = tokenizer.apply_chat_template(
                messages, chat_template=template, add_generation_prompt=cue, tokenize=False
            )
        return str(text)

    return apply


def takes_system_role(template: str, tokenizer: PreTrainedTokenizerBase | None = None) -> bool:
    """Whether a system message's words appear in what the template makes of it."""
    if template not in _SYSTEM_ROLE:
        from jinja2 import TemplateError

        try:
            text = _applier(template, tokenizer)([dict(message) for message in _PROBE], True)
            _SYSTEM_ROLE[template] = _PROBE[0]["content"] in text
        except (TemplateError, ModelFormatError):
            _SYSTEM_ROLE[template] = False
    return _SYSTEM_ROLE[template]


def render(
    messages: Sequence[Mapping[str, Any]],
    template: str,
    tokenizer: PreTrainedTokenizerBase | None = None,
    *,
    cue: bool,
) -> str:
    """The text of `messages`; with `cue`, followed by what opens the doctor's next turn.

    Raises:
        ModelFormatError: when the template refuses the messages even with the system words folded into
            the first user turn.
    """
    from jinja2 import TemplateError

    listed = [dict(message) for message in messages]
    if listed and listed[0].get("role") == "system" and not takes_system_role(template, tokenizer):
        listed = fold_system(listed)
    try:
        return _applier(template, tokenizer)(listed, cue)
    except TemplateError as error:
        raise ModelFormatError(
            f"Expected a chat template that takes alternating user and assistant turns, found one that "
            f"refuses these messages ({error.__class__.__name__}); check the roles or use another base."
        ) from error


def render_with_spans(
    messages: Sequence[Mapping[str, Any]], template: str, tokenizer: PreTrainedTokenizerBase | None = None
) -> tuple[str, list[Span]]:
    """The text of `messages` and the character ranges of the assistant's contents in it.

    The contents are swapped for marks that occur nowhere else, the template is rendered, and the text
    is put together again from the pieces between the marks: the ranges are known, not searched for. The
    result is compared with the plain rendering, so a template that rewrites what the doctor said is
    caught.

    Raises:
        ModelFormatError: when the template drops or rewrites an assistant turn.
    """
    said = [str(message["content"]) for message in messages if message["role"] == "assistant"]
    everything = "".join(str(message.get("content", "")) for message in messages) + template
    mark = "\ue000"
    while mark in everything:
        mark += "\ue001"
    marks = iter(f"{mark}{number}{mark}" for number in range(len(said)))
    marked = [
        {**message, "content": next(marks)} if message["role"] == "assistant" else dict(message)
        for message in messages
    ]
    plain = render(messages, template, tokenizer, cue=False)
    rest = render(marked, template, tokenizer, cue=False)
    text, spans = "", []
    for number, words in enumerate(said):
        before, found, rest = rest.partition(f"{mark}{number}{mark}")
        if not found:
            break
        text += before
        spans.append((len(text), len(text) + len(words)))
        text += words
    if len(spans) != len(said) or text + rest != plain:
        raise ModelFormatError(
            "Expected a chat template that keeps the doctor's words as they are, found one that drops or "
            "rewrites them; set another chat_template on the tokenizer."
        )
    return plain, spans
