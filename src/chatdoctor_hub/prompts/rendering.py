"""Turning Hub messages into text by a chat template, and finding the doctor's words in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts.baking import unbake
from chatdoctor_hub.prompts.control_tokens import neutralise
from chatdoctor_hub.prompts.messages import fold_system

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = [
    "FORMS",
    "Form",
    "Span",
    "end_of_turn",
    "render",
    "render_with_spans",
    "takes_system_role",
    "template_of",
]

Form = Literal["serving", "training"]
FORMS: tuple[Form, ...] = ("training", "serving")
Span = tuple[int, int]
Apply = Callable[[list[dict[str, Any]], bool], str]

_PROBE = [
    {"role": "system", "content": "chatdoctor-system-probe"},
    {"role": "user", "content": "chatdoctor-user-probe"},
    {"role": "assistant", "content": "chatdoctor-assistant-probe"},
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
    """The chat template to use: the tokenizer's (for training, the one named so, if any), else `layout`.

    What is baked into it is left out: the messages are merged before they are rendered.
    """
    own = getattr(tokenizer, "chat_template", None)
    if isinstance(own, Mapping):
        own = own.get("training" if form == "training" and "training" in own else "default")
    return unbake(own if own else layout)


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
    """Whether a system message's words appear in what the template makes of it.

    They must wherever the conversation stops: some templates write them before the last turn and only if
    that is the user's, so that a model would be tuned without the words that it is served with.
    """
    if template not in _SYSTEM_ROLE:
        from jinja2 import TemplateError

        apply = _applier(template, tokenizer)
        try:
            _SYSTEM_ROLE[template] = all(
                _PROBE[0]["content"] in apply([dict(message) for message in _PROBE[:end]], end % 2 == 0)
                for end in (2, 3, 4)
            )
        except (TemplateError, TypeError, ValueError):
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

    Control tokens in the contents are broken (`control_tokens`): in what this text encodes to, only the
    template opens and ends turns.

    Raises:
        ModelFormatError: when the template refuses the messages even with the system words folded into
            the first user turn.
    """
    return _render(neutralise(messages, template, tokenizer), template, tokenizer, cue)


def _render(
    messages: list[dict[str, Any]], template: str, tokenizer: PreTrainedTokenizerBase | None, cue: bool
) -> str:
    from jinja2 import TemplateError

    if messages and messages[0].get("role") == "system" and not takes_system_role(template, tokenizer):
        messages = fold_system(messages)
    try:
        return _applier(template, tokenizer)(messages, cue)
    except (TemplateError, TypeError, ValueError) as error:
        if isinstance(error, ModelFormatError):
            raise
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
    caught. Control tokens in the contents are broken first, as `render` does.

    Raises:
        ModelFormatError: when the template drops or rewrites an assistant turn.
    """
    listed = neutralise(messages, template, tokenizer)
    plain = _render(listed, template, tokenizer, cue=False)
    said = [str(message["content"]) for message in listed if _speaks(message)]
    mark = "\ue000"
    while mark in plain or mark in template:
        mark += "\ue001"
    marks = iter(f"{mark}{number}{mark}" for number in range(len(said)))
    marked = [{**message, "content": next(marks)} if _speaks(message) else message for message in listed]
    rest = _render(marked, template, tokenizer, cue=False)
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


def _speaks(message: Mapping[str, Any]) -> bool:
    """Not so an assistant's message that only calls tools."""
    return message.get("role") == "assistant" and bool(message.get("content"))


def end_of_turn(
    messages: Sequence[Mapping[str, Any]], template: str, tokenizer: PreTrainedTokenizerBase
) -> int | None:
    """The special token that a template puts after the last doctor's turn; None where it puts none."""
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    words = {str(tokenizer.convert_ids_to_tokens(number)): number for number in special}
    try:
        text, spans = render_with_spans(messages, template, tokenizer)
    except ModelFormatError:
        return None
    rest = text[spans[-1][1] :].lstrip()
    # The longest, where one token's text begins with another's.
    fitting = [word for word in words if word and rest.startswith(word)]
    return words[max(fitting, key=len)] if fitting else None
