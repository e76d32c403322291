"""Dialogues that are in memory as token ids and exact masks of the doctor's words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from chatdoctor_hub.dialogue import Dialogue
from chatdoctor_hub.errors import DataFormatError
from chatdoctor_hub.prompts import PromptPair, Span
from chatdoctor_hub.training.data.encoded import Encoded
from chatdoctor_hub.training.data.encoder import Encoder, LossOn
from chatdoctor_hub.training.data.tokenizing import Fast

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Encoded", "Encoding", "encode", "encode_dialogue", "encode_text"]

_AT_ONCE = 256


@dataclass(frozen=True)
class Encoding:
    """Encoded dialogues, and what had to be left out.

    Args:
        samples: in the order of the dialogues.
        shortened: numbers (from 0) of dialogues whose oldest turns were left out to fit.
        skipped: number -> reason, of dialogues that are not among the samples.
    """

    samples: tuple[Encoded, ...]
    shortened: tuple[int, ...] = ()
    skipped: dict[int, str] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """Tokens of all samples."""
        return sum(len(sample) for sample in self.samples)

    @property
    def labelled_tokens(self) -> int:
        """Tokens that are learned."""
        return sum(sum(sample.labelled) for sample in self.samples)


def encode_dialogue(
    dialogue: Dialogue, pair: PromptPair, tokenizer: PreTrainedTokenizerBase, loss_on: LossOn = "doctor"
) -> Encoded:
    """Render a dialogue in the pair's training form and mark what is learned of it.

    Raises:
        ModelFormatError: when no end-of-turn token follows a doctor's turn, or the tokenizer is a slow one.
    """
    text, spans = pair.render_training(dialogue, tokenizer)
    return _one(text, spans, tokenizer, loss_on)


def encode_text(text: str, spans: Sequence[Span], tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Tokens of a rendered dialogue, with the mask of what stands in `spans`.

    The mask comes from the character ranges through the tokenizer's offsets; the end-of-turn token after
    each range is marked too, or the model would never learn to stop.

    Raises:
        ModelFormatError: when no end-of-turn token follows a range, or the tokenizer is a slow one.
    """
    return _one(text, spans, tokenizer, "doctor")


def _one(text: str, spans: Sequence[Span], tokenizer: PreTrainedTokenizerBase, loss_on: LossOn) -> Encoded:
    fast = Fast(tokenizer)
    tokens = fast.tokens([text])[0]
    mask = fast.mask(tokens, spans, loss_on)
    return Encoded(tuple(tokens.ids), tuple(map(bool, mask)))


def encode(
    dialogues: Iterable[Dialogue],
    pair: PromptPair,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    loss_on: LossOn = "doctor",
) -> Encoding:
    """Encode dialogues; what is too long loses its oldest whole turns, never the newest or the end token.

    Args:
        dialogues: in memory or streamed; for files of them there is `encode_data`.
        pair: whose training form they are rendered in.
        tokenizer: a fast one.
        max_length: tokens a dialogue may have.
        loss_on: what is learned: every doctor's turn, the last one only, or all of the text.

    Raises:
        DataFormatError: when nothing is left to learn from.
        ModelFormatError: when the template or tokenizer does not mark the ends of turns, or the template does
            not keep what was said before as a dialogue goes on.
    """
    encoder = Encoder(pair, tokenizer, max_length, loss_on)
    samples: list[Encoded] = []
    shortened: list[int] = []
    skipped: dict[int, str] = {}
    every = (item for batch in encoder.fit(_batches(dialogues)) for item in batch)
    for number, fitted in enumerate(every):
        if fitted.error:
            raise fitted.error
        if fitted.reason:
            skipped[number] = fitted.reason
        else:
            samples.append(Encoded(tuple(fitted.ids), tuple(map(bool, fitted.mask))))
            if fitted.shortened:
                shortened.append(number)
    if not samples:
        reasons = "; ".join(sorted(set(skipped.values()))) or "there was none"
        raise DataFormatError(
            f"Expected at least one dialogue to learn from, found none that can be used ({reasons}); "
            "check the data and max_length."
        )
    return Encoding(tuple(samples), tuple(shortened), skipped)


def _batches(dialogues: Iterable[Dialogue]) -> Iterator[list[Dialogue]]:
    left = iter(dialogues)
    while batch := list(islice(left, _AT_ONCE)):
        yield batch
