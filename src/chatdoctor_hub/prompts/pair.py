"""`PromptPair`: one prompt for tuning and one for serving, as one named and digested object."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import PromptDigestError, UnknownPromptError
from chatdoctor_hub.prompts.baking import bake
from chatdoctor_hub.prompts.messages import merge_system
from chatdoctor_hub.prompts.rendering import (
    Form,
    Span,
    render,
    render_with_spans,
    takes_system_role,
    template_of,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PromptPair", "catalogue"]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
    """

    id: str
    instruction: str
    safety: str
    layout: str
    source: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "instruction", self.instruction.strip())
        object.__setattr__(self, "safety", self.safety.strip())

    @classmethod
    def load(cls, id: str) -> PromptPair:
        """A pair of the catalogue.

        Raises:
            UnknownPromptError: naming the near ones.
        """
        return _load(str(id))

    @property
    def training_text(self) -> str:
        """System text of the training form."""
        return self.instruction

    @property
    def serving_text(self) -> str:
        """System text of the serving form."""
        return "\n\n".join(part for part in (self.safety, self.instruction) if part)

    @property
    def training_sha256(self) -> str:
        """sha256 (hex) of `training_text` in UTF-8."""
        return _sha256(self.training_text)

    @property
    def serving_sha256(self) -> str:
        """sha256 (hex) of `serving_text` in UTF-8."""
        return _sha256(self.serving_text)

    @property
    def sha256(self) -> str:
        """sha256 (hex) of the whole pair: id, both texts, layout and source."""
        fields = [self.id, self.instruction, self.safety, self.layout, self.source]
        return _sha256(json.dumps(fields, ensure_ascii=False))

    def render_training_messages(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Hub messages in the training form: the task before the caller's system words, no safety prompt."""
        return merge_system(messages, self.training_text, (self.serving_text, self.safety))

    def render_serving(self, messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Hub messages in the serving form: safety prompt and task merged in, in front and once."""
        return merge_system(messages, self.serving_text, (self.safety, self.training_text))

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
        return render_with_spans(messages, template_of(tokenizer, self.layout, "training"), tokenizer)

    def render_prompt(
        self,
        messages: Sequence[Mapping[str, Any]],
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        form: Form = "serving",
    ) -> str:
        """The text a model is to continue: `messages` in the given form and the cue for the doctor."""
        to_form = self.render_serving if form == "serving" else self.render_training_messages
        return render(to_form(messages), template_of(tokenizer, self.layout, form), tokenizer, cue=True)

    def training_template(self, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
        """The chat template without a safety prompt: the base's own, else `layout`."""
        return template_of(tokenizer, self.layout, "training")

    def serving_template(self, tokenizer: PreTrainedTokenizerBase | None = None) -> str:
        """The chat template with the serving form baked in: what a release ships as `chat_template.jinja`."""
        own = self.training_template(tokenizer)
        return bake(
            own,
            id=self.id,
            serving=self.serving_text,
            known=tuple(text for text in (self.safety, self.training_text) if text),
            takes_system_role=takes_system_role(own, tokenizer),
        )

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
            names = ("id", "instruction", "safety", "layout", "source")
            pair = cls(**{name: str(record[name]) for name in names})
            stored = {
                form: (record[form]["text"], record[form]["sha256"]) for form in ("training", "serving")
            }
            whole = record["sha256"]
        except (KeyError, TypeError) as error:
            raise PromptDigestError(
                f"{where}: expected a prompt pair with both forms and their sha256, found a gap ({error}); "
                "fetch or make the release again."
            ) from error
        for form, (text, sha256) in stored.items():
            made = pair.training_text if form == "training" else pair.serving_text
            if text != made or _sha256(text) != sha256:
                raise PromptDigestError(
                    f"{where}: expected the {form} form of prompt {pair.id} to have sha256 "
                    f"{str(sha256)[:12]}…, found {_sha256(made)[:12]}…; the prompt was changed "
                    "after the release was made: fetch or make the release again."
                )
        if whole != pair.sha256 or any(record[name] != getattr(pair, name) for name in names):
            raise PromptDigestError(
                f"{where}: expected id, layout and source of prompt {pair.id} with sha256 "
                f"{str(whole)[:12]}…, found {pair.sha256[:12]}…; they were changed after the release was "
                "made: fetch or make the release again."
            )
        return pair


def catalogue() -> tuple[str, ...]:
    """The ids of all prompt pairs that ship with the package."""
    files = resources.files("chatdoctor_hub.prompts").joinpath("data").iterdir()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


@lru_cache(maxsize=32)
def _load(id: str) -> PromptPair:
    known = catalogue()
    if id not in known:
        near = difflib.get_close_matches(id, known, n=1, cutoff=0.4)
        raise UnknownPromptError(
            f"Expected the id of a prompt pair ({', '.join(known)}), found {id!r}; "
            + (f"did you mean {near[0]!r}?" if near else "use one of these.")
        )
    file = resources.files("chatdoctor_hub.prompts").joinpath("data").joinpath(f"{id}.yaml")
    return PromptPair(**yaml.safe_load(file.read_text(encoding="utf-8")))
