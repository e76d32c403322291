"""`Encoder`: dialogues rendered, tokenized, masked and cut to length, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from chatdoctor_hub.dialogue import Dialogue, Turn
from chatdoctor_hub.errors import ModelFormatError
from chatdoctor_hub.prompts import PromptPair, Span
from chatdoctor_hub.training.data.stability import Stability
from chatdoctor_hub.training.data.tokenizing import Fast, LossOn

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["CANNOT_RENDER", "NO_DOCTOR", "Encoder", "Fitted", "LossOn"]

NO_DOCTOR = "no doctor turn"
CANNOT_RENDER = "the chat template refuses its turns, or rewrites the doctor's words"
_CHECKED_FIRST, _CHECKED_EVERY = 16, 500  # dialogues whose learned tokens are decoded


@dataclass(frozen=True)
class Fitted:
    """What became of a dialogue.

    Args:
        ids: its tokens; none when it is left out.
        mask: 1 for each that is learned, else 0.
        shortened: whether its oldest turns were left out to fit.
        reason: why the whole of it is left out, or "".
        error: what is wrong with the template or the tokenizer, where that is why.
    """

    ids: Sequence[int] = ()
    mask: bytes | bytearray = b""
    shortened: bool = False
    reason: str = ""
    error: ModelFormatError | None = field(default=None, compare=False)


class _Rendered(NamedTuple):
    dialogue: Dialogue
    text: str
    spans: list[Span]
    fitted: Fitted | None
    """Set when there is nothing to tokenize."""


class Encoder:
    """Makes dialogues into tokens.

    Args:
        pair: whose training form they are rendered in.
        tokenizer: a fast one.
        max_length: tokens a dialogue may have.
        loss_on: what is learned.

    Raises:
        ModelFormatError: for a slow tokenizer.
    """

    def __init__(
        self,
        pair: PromptPair,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        loss_on: LossOn = "doctor",
    ) -> None:
        self._pair = pair
        self._tokenizer = tokenizer
        self._fast = Fast(tokenizer)
        self._stability = Stability(pair, tokenizer)
        self._max_length = max_length
        self._loss_on: LossOn = loss_on
        self._done = 0

    def fit(self, batches: Iterable[Sequence[Dialogue]]) -> Iterator[list[Fitted]]:
        """What becomes of each dialogue, batch by batch; one is rendered while the one before is tokenized.

        Raises:
            ModelFormatError: when the template does not keep what was said before as a dialogue goes on, and
                more than the last turn is learned.
        """
        before: tuple[list[_Rendered], Future[list[Any]]] | None = None
        with ThreadPoolExecutor(1) as pool:
            for batch in batches:
                rendered = [self._render(dialogue) for dialogue in batch]
                texts = [item.text for item in rendered if item.fitted is None]
                future = pool.submit(self._fast.tokens, texts)
                if before:
                    yield self._finish(*before)
                before = rendered, future
            if before:
                yield self._finish(*before)

    def _render(self, dialogue: Dialogue) -> _Rendered:
        said = len(dialogue.doctor_turns)
        if not said:
            return _Rendered(dialogue, "", [], Fitted(reason=NO_DOCTOR))
        if said > 1 and self._loss_on != "last":
            self._stability.require(dialogue)
        try:
            text, spans = self._pair.render_training(dialogue, self._tokenizer)
        except ModelFormatError as error:
            return _Rendered(dialogue, "", [], Fitted(reason=CANNOT_RENDER, error=error))
        return _Rendered(dialogue, text, spans, None)

    def _finish(self, rendered: list[_Rendered], future: Future[list[Any]]) -> list[Fitted]:
        tokens = iter(future.result())
        return [item.fitted or self._fit(item, next(tokens)) for item in rendered]

    def _fit(self, item: _Rendered, tokens: Any) -> Fitted:
        shortened = False
        if len(tokens) > self._max_length:
            found = self._shorten(item.dialogue)
            if found is None:
                return Fitted(reason=f"its last exchange alone is longer than {self._max_length} tokens")
            (item, tokens), shortened = found, True
        try:
            mask = self._fast.mask(tokens, item.spans, self._loss_on)
            if self._done < _CHECKED_FIRST or self._done % _CHECKED_EVERY == 0:
                self._fast.check(tokens, item.text, item.spans)
        except ModelFormatError as error:
            return Fitted(reason="misaligned", error=error)
        self._done += 1
        return Fitted(tokens.ids, mask, shortened)

    def _shorten(self, dialogue: Dialogue) -> tuple[_Rendered, Any] | None:
        """As many of the newest whole exchanges as fit; None when the last one alone does not."""
        system = tuple(turn for turn in dialogue.turns[:1] if turn.role == "system")
        rest = dialogue.turns[len(system) :]
        starts = _openings(rest)
        best: tuple[_Rendered, Any] | None = None
        low, high = 0, len(starts)
        while low < high:
            middle = (low + high) // 2
            shorter = self._render(replace(dialogue, turns=system + rest[starts[middle] :]))
            tokens = None if shorter.fitted else self._fast.tokens([shorter.text])[0]
            if tokens is not None and len(tokens) <= self._max_length:
                best, high = (shorter, tokens), middle
            else:
                low = middle + 1
        return best


def _openings(turns: Sequence[Turn]) -> list[int]:
    """Where a dialogue may begin when its oldest turns are left out: at a patient who is answered yet."""
    last = max((at for at, turn in enumerate(turns) if turn.role == "doctor"), default=0)
    return [at for at in range(1, last) if turns[at].role == "patient"]
