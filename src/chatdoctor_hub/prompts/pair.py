"""`PromptPair`: one prompt for tuning and one for serving, as one named and digested object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import PromptDigestError, PromptError
from chatdoctor_hub.prompts.baking import bake
from chatdoctor_hub.prompts.catalogue import is_fixed, read_pair
from chatdoctor_hub.prompts.messages import merge_system
from chatdoctor_hub.prompts.rendering import (
    FORMS,
    Form,
    Span,
    end_of_turn,
    render,
    render_with_spans,
    takes_system_role,
    template_of,
)
from chatdoctor_hub.prompts.shape import Shape

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PromptPair"]

_TEXTS = ("id", "instruction", "safety", "layout", "source")


@dataclass(frozen=True)
class PromptPair:
    """The training form and the serving form of a prompt (PTST, arXiv 2402.18540, section 3).

    The training form says what the task is; the serving form says the same with a safety prompt in
    front. Tuning uses the first, every engine uses the second, and both travel with the weights. Outer
    white space of the texts carries no meaning and is removed.

    Args:
        id: name and version, "chatdoctor@1".
        instruction: the task; the system text of the training form. May be "".
        safety: the safety prompt; the serving form's system text is this, a blank line, the instruction.
        layout: chat template (Jinja) for base models that have none.
        source: where the texts come from.
        training_shape: how the training form wraps a question, and whether it is plain text.
        serving_shape: the same of the serving form.
        serving_instruction: the task in the serving form; None for `instruction`.
    """

    id: str
    instruction: str
    safety: str
    layout: str
    source: str = ""
    training_shape: Shape = field(default=Shape())
    serving_shape: Shape = field(default=Shape())
    serving_instruction: str | None = None

    def __post_init__(self) -> None:
        for name in ("instruction", "safety", "serving_instruction"):
            text = getattr(self, name)
            object.__setattr__(self, name, text if text is None else text.strip())
        if self.serving_instruction == self.instruction:
            object.__setattr__(self, "serving_instruction", None)

    @classmethod
    def load(cls, id: str) -> PromptPair:
        """A pair by its name.

        Args:
            id: an id of the catalogue ("chatdoctor@1"); a template of PTST ("chat:vanilla"); the path of a YAML
                file of one's own; or two of these as "A -> B", tuned under A and served under B.

        Raises:
            UnknownPromptError: naming the near ones.
            PromptError: when a file of one's own has faults.
            MissingExtraError: for a prompt that transformers has, without it.
        """
        id = str(id)
        return _load(id) if is_fixed(id) else cls(**read_pair(id))

    @property
    def training_text(self) -> str:
        """System text of the training form."""
        return self.instruction

    @property
    def serving_text(self) -> str:
        """System text of the serving form."""
        task = self.instruction if self.serving_instruction is None else self.serving_instruction
        return "\n\n".join(part for part in (self.safety, task) if part)

    @property
    def training_sha256(self) -> str:
        """sha256 (hex) of the training form: its text, and its shape unless that is the ordinary one."""
        return self.training_shape.digest(self.training_text)

    @property
    def serving_sha256(self) -> str:
        """sha256 (hex) of the serving form: its text, and its shape unless that is the ordinary one."""
        return self.serving_shape.digest(self.serving_text)

    @property
    def sha256(self) -> str:
        """sha256 (hex) of the whole pair: id, both forms, layout and source."""
        fields: list[Any] = [getattr(self, name) for name in _TEXTS]
        if self._special:
            fields.append(self._special)
        text = json.dumps(fields, ensure_ascii=False)
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def _special(self) -> dict[str, Any]:
        """What is not as in most pairs."""
        found: dict[str, Any] = {
            "training_shape": self.training_shape.to_record(),
            "serving_shape": self.serving_shape.to_record(),
        }
        if self.serving_instruction is not None:
            found["serving_instruction"] = self.serving_instruction
        return {name: value for name, value in found.items() if value or value == ""}

    def render_training_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Hub messages in the training form: the task before the caller's system words, no safety prompt."""
        merged = merge_system(messages, self.training_text, (self.serving_text, self.safety))
        return self.training_shape.wrap(merged)

    def render_serving(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Hub messages in the serving form: safety prompt and task merged in, in front and once."""
        merged = merge_system(messages, self.serving_text, (self.safety, self.training_text))
        return self.serving_shape.wrap(merged)

    def render_messages(self, messages: Sequence[Mapping[str, Any]], form: Form) -> list[dict[str, Any]]:
        """Hub messages in the given form."""
        return self.render_serving(messages) if form == "serving" else self.render_training_messages(messages)

    def render_training(
        self, dialogue: Dialogue, tokenizer: PreTrainedTokenizerBase | None = None
    ) -> tuple[str, list[Span]]:
        """The text to tune on, and where in it the doctor speaks.

        There is no way to ask for the safety prompt here: what is tuned on is pure by construction.

        Args:
            dialogue: what was said; a system turn of its own comes after the task.
            tokenizer: whose chat template to use; without one (or if it has none), `layout`.

        Returns:
            The text, and one (start, end) character range a doctor's turn; the end-of-turn token that
            follows a range is not part of it.

        Raises:
            ModelFormatError: when the template drops or rewrites the doctor's words.
        """
        messages = self.render_training_messages(dialogue.to_messages())
        return render_with_spans(messages, self.template(tokenizer, "training"), tokenizer)

    def render_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        form: Form = "serving",
    ) -> str:
        """The text a model is to continue: `messages` in the given form and the cue for the doctor."""
        made = self.render_messages(messages, form)
        return render(made, self.template(tokenizer, form), tokenizer, cue=True)

    def template(self, tokenizer: PreTrainedTokenizerBase | None = None, form: Form = "training") -> str:
        """The chat template of a form, without what is baked in: the base's own, else `layout`, or plain text.

        A model is served under the template that it was tuned under, unless only one of the forms is plain
        text. "" when there is none.
        """
        shape = self.serving_shape if form == "serving" else self.training_shape
        if shape.plain:
            return shape.layout()
        return template_of(tokenizer, self.layout, "serving" if self.training_shape.plain else "training")

    def training_template(self, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
        """The chat template of the training form: the base's own, else `layout`, or plain text."""
        return self.template(tokenizer, "training")

    def serving_template(self, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
        """The chat template with the serving form baked in: what a release ships as `chat_template.jinja`."""
        own = self.template(tokenizer, "serving")
        return bake(
            own,
            id=self.id,
            serving=self.serving_text,
            known=tuple(text for text in (self.safety, self.training_text) if text),
            takes_system_role=takes_system_role(own, tokenizer),
            shape=self.serving_shape,
        )

    def ends_of_turns(self, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
        """The special tokens that the templates of both forms put after the doctor's words.

        They are what a tuned model learns to say, and need not be the tokenizer's end token: many bases end a
        text with one token and a turn with another.
        """
        turns = Dialogue((Turn("patient", "Hello"), Turn("doctor", "Hello"))).to_messages()
        found = (
            end_of_turn(self.render_messages(turns, form), self.template(tokenizer, form), tokenizer)
            for form in FORMS
        )
        return frozenset(token for token in found if token is not None)

    def to_record(self) -> dict[str, Any]:
        """A JSON-able record that `from_record` reads back and checks."""
        return {
            "id": self.id,
            "source": self.source,
            "instruction": self.instruction,
            "safety": self.safety,
            "layout": self.layout,
            "sha256": self.sha256,
            "training": {"text": self.training_text, "sha256": self.training_sha256},
            "serving": {"text": self.serving_text, "sha256": self.serving_sha256},
            **self._special,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], where: str = "the record") -> PromptPair:
        """Read a pair back.

        Args:
            record: what `to_record` made.
            where: the file it stands in, for the message.

        Raises:
            PromptDigestError: when a text is missing or does not have the digest recorded for it.
        """
        try:
            pair = cls(
                **{name: str(record[name]) for name in _TEXTS},
                training_shape=Shape(**record.get("training_shape", {})),
                serving_shape=Shape(**record.get("serving_shape", {})),
                serving_instruction=record.get("serving_instruction"),
            )
            stored = {
                form: (record[form]["text"], record[form]["sha256"]) for form in ("training", "serving")
            }
            whole = record["sha256"]
        except (KeyError, TypeError, AttributeError, PromptError) as error:
            raise PromptDigestError(
                f"{where}: expected a prompt pair with both forms and their sha256, found a gap ({error}); "
                "fetch or make the release again."
            ) from error
        for form, (text, sha256) in stored.items():
            made = pair.training_text if form == "training" else pair.serving_text
            digest = pair.training_sha256 if form == "training" else pair.serving_sha256
            if text != made or sha256 != digest:
                raise PromptDigestError(
                    f"{where}: expected the {form} form of prompt {pair.id} to have sha256 "
                    f"{str(sha256)[:12]}…, found {digest[:12]}…; the prompt was changed "
                    "after the release was made: fetch or make the release again."
                )
        if whole != pair.sha256 or any(record[name] != getattr(pair, name) for name in _TEXTS):
            raise PromptDigestError(
                f"{where}: expected id, layout and source of prompt {pair.id} with sha256 "
                f"{str(whole)[:12]}…, found {pair.sha256[:12]}…; they were changed after the release was "
                "made: fetch or make the release again."
            )
        return pair


@lru_cache(maxsize=64)
def _load(id: str) -> PromptPair:
    return PromptPair(**read_pair(id))
