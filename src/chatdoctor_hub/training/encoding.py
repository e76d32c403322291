"""From dialogues to token ids and the exact mask of the doctor's words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import DataFormatError, ModelFormatError
from chatdoctor_hub.prompts import PromptPair, Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Encoded", "Encoding", "encode", "encode_dialogue", "encode_text"]


@dataclass(frozen=True)
class Encoded:
    """One dialogue as tokens.

    Args:
        ids: token ids, length L.
        labelled: L booleans; True where the token is learned: the doctor's words and the end of the turn.
    """

    ids: tuple[int, ...]
    labelled: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.ids)


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


def encode_dialogue(dialogue: Dialogue, pair: PromptPair, tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Render a dialogue in the pair's training form and mark the doctor's words.

    Raises:
        ModelFormatError: when no end-of-turn token follows a doctor's turn.
    """
    return encode_text(*pair.render_training(dialogue, tokenizer), tokenizer)


def encode_text(text: str, spans: Sequence[Span], tokenizer: PreTrainedTokenizerBase) -> Encoded:
    """Tokens of a rendered dialogue, with the mask of what stands in `spans`.

    The mask comes from the character ranges through the tokenizer's offsets; the end-of-turn token after
    each range is marked too, or the model would never learn to stop.

    Raises:
        ModelFormatError: when no end-of-turn token follows a range.
    """
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    special = set(tokenizer.all_special_ids) | {
        number for number, token in tokenizer.added_tokens_decoder.items() if token.special
    }
    labelled = [False] * len(ids)
    position = 0
    for start, end in spans:
        while position < len(ids) and offsets[position][1] <= start:
            position += 1
        while position < len(ids) and offsets[position][0] < end:
            labelled[position] = True
            position += 1
        # White space may stand between the words and the token that ends the turn.
        stop = next((at for at in range(position, min(position + 3, len(ids))) if ids[at] in special), None)
        if stop is None:
            raise ModelFormatError(
                "Expected a special end-of-turn token after each doctor's turn, found none; give the "
                "tokenizer an eos_token, or a chat template that ends turns."
            )
        for at in range(position, stop + 1):
            labelled[at] = True
        position = stop + 1
    return Encoded(tuple(ids), tuple(labelled))


def encode(
    dialogues: Iterable[Dialogue],
    pair: PromptPair,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
) -> Encoding:
    """Encode dialogues; what is too long loses its oldest whole turns, never the newest or the end token.

    Raises:
        DataFormatError: when nothing is left to learn from.
        ModelFormatError: when the template or tokenizer does not mark the ends of turns.
    """
    samples, shortened, skipped = [], [], {}
    for number, dialogue in enumerate(dialogues):
        if not dialogue.doctor_turns:
            skipped[number] = "no doctor turn"
            continue
        sample, cut = _fit(dialogue, pair, tokenizer, max_length)
        if sample is None:
            skipped[number] = f"its last exchange alone is longer than {max_length} tokens"
            continue
        if cut:
            shortened.append(number)
        samples.append(sample)
    if not samples:
        reasons = "; ".join(sorted(set(skipped.values()))) or "there was none"
        raise DataFormatError(
            f"Expected at least one dialogue to learn from, found none that can be used ({reasons}); "
            "check the data and max_length."
        )
    return Encoding(tuple(samples), tuple(shortened), skipped)


def _fit(
    dialogue: Dialogue, pair: PromptPair, tokenizer: PreTrainedTokenizerBase, max_length: int
) -> tuple[Encoded | None, bool]:
    kept, cut = dialogue, False
    while True:
        sample = encode_dialogue(kept, pair, tokenizer)
        if len(sample) <= max_length:
            return sample, cut
        shorter = _without_oldest(kept.turns)
        if shorter is None:
            return None, True
        kept, cut = replace(kept, turns=shorter), True


def _without_oldest(turns: tuple[Turn, ...]) -> tuple[Turn, ...] | None:
    """The turns without the oldest exchange; None when one exchange is left."""
    system = tuple(turn for turn in turns[:1] if turn.role == "system")
    rest = turns[len(system) :]
    for at in range(1, len(rest)):
        if rest[at].role == "patient" and any(turn.role == "doctor" for turn in rest[at:]):
            return system + tuple(rest[at:])
    return None
